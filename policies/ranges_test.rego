package witgate.ranges_test

import data.witgate.ranges

test_a_version_is_read_in_one_way if {
	every good in ["0.0.0", "1.4.0", "1.4.0-rc.1", "1.4.0-0a.x-y", "1.4.0+007", "123456789012345.0.0"] {
		ranges.valid(good)
	}
	every bad in ["", "1", "1.4", "v1.4.0", "01.4.0", "1.4.0-01", "1.4.0 ", "1234567890123456.0.0", "1.0.0-99999999999999999999"] {
		not ranges.valid(bad)
	}
}

test_a_range_is_all_of_its_bounds if {
	every version in ["0.2.0", "0.2.9", "0.2.0+build"] {
		ranges.holds(version, ">=0.2.0 <0.3.0")
	}
	every version in ["0.1.9", "0.3.0", "0.2.0-rc.1", "v0.2.0", "0.2"] {
		not ranges.holds(version, ">=0.2.0 <0.3.0")
	}
	ranges.holds("1.0.0", "<=1.0.0")
	not ranges.holds("1.0.1", "<=1.0.0")
	ranges.holds("1.0.1", ">1.0.0")
	not ranges.holds("1.0.0", ">1.0.0")
	not ranges.holds("1.0.0", "1.0.0")
}

test_only_bounds_are_a_range if {
	ranges.is_range("<1.0.0")
	ranges.is_range(">=1.0.0")
	not ranges.is_range("1.0.0")
}

test_a_pre_release_is_its_release_too if {
	ranges.forms("v1.2.3-1ubuntu2+x") == {"1.2.3-1ubuntu2", "1.2.3"}
}
