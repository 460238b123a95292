//! The Rego virtual machine: one program, compiled once, run within bounds of time and work.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::num::NonZeroU32;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use regorus::Value;
use regorus::languages::rego::compiler::Compiler;
use regorus::rvm::RegoVM;
use regorus::rvm::program::{Program, RuleInfo, RuleType};
use regorus::rvm::vm::VmError;
use regorus::utils::limits::ExecutionTimerConfig;

use super::bounds::check_bounds;
use super::bundle::Source;
use super::scrutiny::{package, scrutinize};
use super::value::{NotJson, Values};
use super::{LoadError, early};
use crate::case::Case;

/// A compiled policy with its data, ready for any number of threads.
pub(super) struct Engine {
    program: Arc<Program>,
    /// The same with those refusals alone that need nothing fetched; `None` where there are none.
    early: Option<Arc<Program>>,
    /// Each machine parses its own copy: shared values do not scale, for every look-up counts references.
    data_json: String,
    timeout: Duration,
    /// Idle machines. A slot is locked for the time of a `take`, never during an evaluation, and never waited for.
    idle: [Mutex<Option<Machine>>; MAX_IDLE_MACHINES],
    /// Whether the policy has a rule `grants`: one that is there and undefined is a fault, one that is not grants nothing.
    has_grants: bool,
}

/// A machine with what it keeps from one decision to the next.
struct Machine {
    vm: RegoVM,
    early: Option<RegoVM>,
    values: Values,
}

/// Why an evaluation gave no answer.
#[derive(Debug)]
pub(super) enum Fault {
    /// It ran past its time or its instructions.
    Timeout(String),
    /// It failed, or answered nothing.
    Failed(String),
    /// The machine itself broke: a bug, or an exhausted resource.
    Broken(String),
}

impl Engine {
    /// Compiles `modules` with `data`, off the caller's stack.
    pub fn compile(modules: &[Source], data: &serde_json::Value, timeout: Duration) -> Result<Self, LoadError> {
        for module in modules {
            scrutinize(&module.name, &module.text)?;
            if package(&module.text).is_some_and(|package| package.starts_with(ENTRY_PACKAGE)) {
                return Err(LoadError::Forbidden {
                    name: module.name.clone(),
                    line: 1,
                    column: 1,
                    function: ENTRY_PACKAGE.into(),
                });
            }
        }
        let data_json = data.to_string();
        let program = on_a_large_stack(|| compile(modules, &data_json))?;
        check_functions(&program)?;
        check_bounds(&program)?;
        check_kinds(&program)?;
        let engine = Self {
            has_grants: rule(&program, "grants").is_some(),
            early: early::program(&program).map(Arc::new),
            program,
            data_json,
            timeout,
            idle: std::array::from_fn(|_| Mutex::new(None)),
        };
        let machine = engine.machine().map_err(|fault| compile_error(fault.text()))?;
        engine.give_back(machine);
        Ok(engine)
    }

    /// Whether the policy has a rule `grants`: one without restricts nothing that others grant.
    pub fn has_grants(&self) -> bool {
        self.has_grants
    }

    /// Evaluates the contract's four rules on a case.
    pub fn evaluate(&self, case: &Case) -> Result<serde_json::Value, Fault> {
        self.evaluate_with(|values| values.of_case(case))
    }

    /// Evaluates on any JSON.
    #[cfg(test)]
    pub fn evaluate_json(&self, input: &serde_json::Value) -> Result<serde_json::Value, Fault> {
        self.evaluate_with(|values| values.of(input))
    }

    fn evaluate_with(
        &self,
        input: impl FnOnce(&mut Values) -> Result<Value, NotJson>,
    ) -> Result<serde_json::Value, Fault> {
        self.with_machine(|Machine { vm, values, .. }| {
            let answer = run(vm, input(values), ENTRY)?;
            if !answer.is_object() {
                return Err(Fault::Failed("answered nothing".into()));
            }
            if self.has_grants && answer["grants"].is_null() && answer["admit"] == true {
                return Err(Fault::Failed("admits, but its `grants` are undefined".into()));
            }
            Ok(answer)
        })
    }

    /// The refusals by those bodies of `refuse` that read nothing which has to be fetched: what they say of this case they say
    /// as well once everything is there.
    pub fn refuse_early(&self, case: &Case) -> Result<serde_json::Value, Fault> {
        if self.early.is_none() {
            return Ok(serde_json::Value::Array(Vec::new()));
        }
        self.with_machine(|Machine { early, values, .. }| match early {
            Some(vm) => run(vm, values.of_case(case), ENTRY_REFUSE),
            None => Ok(serde_json::Value::Array(Vec::new())),
        })
    }

    fn with_machine<T>(&self, work: impl FnOnce(&mut Machine) -> Result<T, Fault>) -> Result<T, Fault> {
        let mut machine = match self.take() {
            Some(machine) => machine,
            None => self.machine()?,
        };
        // A machine that panicked or failed is dropped: nothing of it reaches the next decision.
        let worked = catch_unwind(AssertUnwindSafe(|| work(&mut machine)));
        let answer = worked.map_err(|_| Fault::Broken("evaluator panicked".into()))??;
        self.give_back(machine);
        Ok(answer)
    }

    fn machine(&self) -> Result<Machine, Fault> {
        let data = Value::from_json_str(&self.data_json).map_err(|error| Fault::Broken(error.to_string()))?;
        let vm = self.load(&self.program, data.clone())?;
        let early = self.early.as_ref().map(|program| self.load(program, data)).transpose()?;
        Ok(Machine { vm, early, values: Values::default() })
    }

    fn load(&self, program: &Arc<Program>, data: Value) -> Result<RegoVM, Fault> {
        let mut vm = RegoVM::new();
        // A function that fails is undefined, as in OPA. The strict mode of this machine would end the whole body without a
        // word, and with it what the body still had to refuse.
        vm.set_strict_builtin_errors(false);
        vm.set_max_instructions(MAX_INSTRUCTIONS);
        vm.set_execution_timer_config(Some(ExecutionTimerConfig {
            limit: self.timeout,
            check_interval: TIMER_INTERVAL,
        }));
        vm.load_program(Arc::clone(program));
        vm.set_data(data).map_err(|error| Fault::Broken(error.to_string()))?;
        Ok(vm)
    }

    fn take(&self) -> Option<Machine> {
        self.slots().find_map(|slot| slot.try_lock().ok()?.take())
    }

    fn give_back(&self, machine: Machine) {
        let mut machine = Some(machine);
        for slot in self.slots() {
            if let Ok(mut slot) = slot.try_lock()
                && slot.is_none()
            {
                *slot = machine.take();
                return;
            }
        }
    }

    /// The slots, from another one for each thread, so that threads seldom meet.
    fn slots(&self) -> impl Iterator<Item = &Mutex<Option<Machine>>> {
        let mut hasher = DefaultHasher::new();
        std::thread::current().id().hash(&mut hasher);
        let start = usize::try_from(hasher.finish() % MAX_IDLE_MACHINES as u64).unwrap_or(0);
        self.idle.iter().cycle().skip(start).take(MAX_IDLE_MACHINES)
    }
}

/// One execution of one entry point.
fn run(vm: &mut RegoVM, input: Result<Value, NotJson>, entry: &str) -> Result<serde_json::Value, Fault> {
    vm.set_input(input.map_err(|error| Fault::Broken(error.to_string()))?);
    let answer = vm.execute_entry_point_by_name(entry).map_err(|error| match error {
        VmError::TimeLimitExceeded { limit, .. } => {
            Fault::Timeout(format!("evaluation ran past {} ms", limit.as_millis()))
        }
        VmError::InstructionLimitExceeded { limit, .. } => {
            Fault::Timeout(format!("evaluation ran past {limit} instructions"))
        }
        error => Fault::Failed(error.to_string()),
    })?;
    vm.set_input(Value::Undefined);
    serde_json::to_value(&answer).map_err(|error| Fault::Failed(error.to_string()))
}

impl Fault {
    /// What happened, for a person.
    pub fn text(&self) -> &str {
        match self {
            Self::Timeout(text) | Self::Failed(text) | Self::Broken(text) => text,
        }
    }
}

fn compile(modules: &[Source], data_json: &str) -> Result<Arc<Program>, LoadError> {
    let fault = |error: &dyn std::fmt::Display| compile_error(&error.to_string());
    let mut engine = regorus::Engine::new();
    engine.set_strict_builtin_errors(true);
    for module in modules {
        engine.add_policy(module.name.clone(), module.text.clone()).map_err(|error| fault(&error))?;
    }
    engine.add_policy(ENTRY_NAME.into(), ENTRY_MODULE.into()).map_err(|error| fault(&error))?;
    let data = Value::from_json_str(data_json).map_err(|error| fault(&error))?;
    engine.add_data(data).map_err(|error| fault(&error))?;
    let compiled = engine.compile_with_entrypoint(&ENTRY.into()).map_err(|error| fault(&error))?;
    Compiler::compile_from_policy(&compiled, &[ENTRY, ENTRY_REFUSE]).map_err(|error| fault(&error))
}

fn compile_error(report: &str) -> LoadError {
    LoadError::Compile { report: format!("\n{}", report.trim()) }
}

/// Runs `work` on a thread whose stack holds the deepest syntax tree that [`super::scrutiny::MAX_MODULE_BYTES`] can write.
pub(super) fn on_a_large_stack<T: Send>(work: impl FnOnce() -> Result<T, LoadError> + Send) -> Result<T, LoadError> {
    std::thread::scope(|scope| {
        std::thread::Builder::new()
            .name("policy-compiler".into())
            .stack_size(COMPILER_STACK_BYTES)
            .spawn_scoped(scope, work)
            .map_err(|error| compile_error(&format!("cannot start the compiler: {error}")))?
            .join()
            .unwrap_or_else(|_| Err(compile_error("compiler panicked")))
    })
}

fn check_functions(program: &Program) -> Result<(), LoadError> {
    match program.builtin_info_table.iter().find(|builtin| !FUNCTIONS.contains(&builtin.name.as_str())) {
        Some(builtin) => Err(LoadError::FunctionNotListed { function: builtin.name.clone() }),
        None => Ok(()),
    }
}

fn check_kinds(program: &Program) -> Result<(), LoadError> {
    for name in ["refuse", "warn"] {
        // A complete rule with two values is undefined, and an undefined refusal refuses nothing.
        if rule(program, name).is_some_and(|info| info.rule_type != RuleType::PartialSet) {
            let expected = "a set, written `contains`";
            return Err(LoadError::RuleKind { rule: name, found: "no set", expected });
        }
    }
    Ok(())
}

fn rule<'a>(program: &'a Program, name: &str) -> Option<&'a RuleInfo> {
    let path = format!("data.witgate.admission.{name}");
    program.rule_infos.iter().find(|info| info.name == path)
}

/// The package of the rule that is evaluated; policies may not use the name.
const ENTRY_PACKAGE: &str = "witgate_gateway";
const ENTRY_NAME: &str = "gateway.rego";
const ENTRY: &str = "data.witgate_gateway.answer";
const ENTRY_REFUSE: &str = "data.witgate_gateway.refuse";
/// One entry point for all four rules: what they share is computed once an execution, not once an entry point. Each has a
/// default, because one undefined member makes the whole object undefined.
const ENTRY_MODULE: &str = "package witgate_gateway

answer := {\"admit\": admit, \"refuse\": refuse, \"warn\": warn, \"grants\": grants}

default admit := false

admit := data.witgate.admission.admit

default refuse := []

refuse := data.witgate.admission.refuse

default warn := []

warn := data.witgate.admission.warn

default grants := null

grants := data.witgate.admission.grants
";

/// Instructions of one evaluation: about 100 ms of them. regorus' own default of 25,000 is too few for 200 imports.
const MAX_INSTRUCTIONS: usize = 2_000_000;
/// Instructions between two looks at the clock.
const TIMER_INTERVAL: NonZeroU32 = NonZeroU32::new(8).expect("8 is not 0");
/// Machines that are kept for the next decision; more threads make their own for the time of a burst.
const MAX_IDLE_MACHINES: usize = 16;
/// Address space for the compiler's recursion, touched only as far as it is used.
const COMPILER_STACK_BYTES: usize = 256 << 20;

/// The built-in functions that policies may reach: values in, values out, work in proportion to what they are given.
const FUNCTIONS: &[&str] = &[
    "__builtin_sets.intersection",
    "__builtin_sets.union",
    "abs",
    "array.concat",
    "array.reverse",
    "array.slice",
    "base64.decode",
    "base64.encode",
    "base64.is_valid",
    "bits.and",
    "bits.negate",
    "bits.or",
    "bits.rsh",
    "bits.xor",
    "ceil",
    "concat",
    "contains",
    "count",
    "endswith",
    "floor",
    "format_int",
    "glob.match",
    "glob.quote_meta",
    "hex.decode",
    "hex.encode",
    "indexof",
    "indexof_n",
    "intersection",
    "is_array",
    "is_boolean",
    "is_null",
    "is_number",
    "is_object",
    "is_set",
    "is_string",
    "json.filter",
    "json.is_valid",
    "json.marshal",
    "json.remove",
    "json.unmarshal",
    "lower",
    "max",
    "min",
    "object.filter",
    "object.get",
    "object.keys",
    "object.remove",
    "object.subset",
    "object.union",
    "object.union_n",
    "print",
    "product",
    "regex.is_valid",
    "regex.match",
    "regex.replace",
    "regex.split",
    "regex.find_n",
    "replace",
    "round",
    "semver.compare",
    "semver.is_valid",
    "sort",
    "split",
    "sprintf",
    "startswith",
    "strings.any_prefix_match",
    "strings.any_suffix_match",
    "strings.count",
    "strings.replace_n",
    "strings.reverse",
    "substring",
    "sum",
    "time.add_date",
    "time.clock",
    "time.date",
    "time.diff",
    "time.parse_duration_ns",
    "time.parse_ns",
    "time.parse_rfc3339_ns",
    "time.weekday",
    "to_number",
    "trim",
    "trim_left",
    "trim_prefix",
    "trim_right",
    "trim_space",
    "trim_suffix",
    "type_name",
    "union",
    "units.parse",
    "units.parse_bytes",
    "upper",
];

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn source(text: &str) -> Vec<Source> {
        vec![Source { name: "p.rego".into(), text: text.into() }]
    }

    fn load(text: &str) -> Result<Engine, LoadError> {
        Engine::compile(&source(text), &json!({}), Duration::from_millis(100))
    }

    fn admission(rules: &str) -> Result<Engine, LoadError> {
        load(&format!("package witgate.admission\n\n{rules}\n"))
    }

    fn text(json: &str) -> serde_json::Value {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn says_where_a_policy_does_not_compile() {
        let report = |rules| match admission(rules) {
            Err(error) => error.to_string(),
            Ok(_) => panic!("`{rules}` compiled"),
        };
        for (rules, place, words) in [
            ("admit if {", "p.rego:", "error:"),
            ("admit if x == 1", "p.rego:3:", "unsafe"),
            ("admit if unknown_function(1)", "p.rego:3:", "unknown_function"),
        ] {
            let report = report(rules);
            assert!(report.contains(place) && report.contains(words), "{report}");
        }
    }

    #[test]
    fn refuses_functions_that_are_not_listed() {
        let error = admission("admit if trace(\"x\")").map(|_| ()).unwrap_err();
        assert_eq!(error.to_string(), "policies may not use `trace`");
    }

    #[test]
    fn refuses_refusals_that_could_be_undefined() {
        for rules in ["refuse := []", "default refuse := []", "warn[x] := 1 if x := \"a\""] {
            let error = admission(rules).map(|_| ()).unwrap_err();
            assert!(matches!(error, LoadError::RuleKind { .. }), "`{rules}` gave {error}");
        }
    }

    #[test]
    fn refuses_the_gateways_own_package() {
        assert!(load("package witgate_gateway\n\nadmit := true\n").is_err());
    }

    #[test]
    fn hostile_syntax_is_answered_soon() {
        for text in [
            format!("x := {}", "[".repeat(20_000)),
            format!("x := {}1{}", "[".repeat(10), "]".repeat(10)),
            format!("x := [{}]", "[[[[[[[[[1]]]]]]]]],\n".repeat(100)),
            format!("x := {}1{}", "[{(".repeat(3), ")}]".repeat(3)),
            format!("x := {}1{}", "{\"a\":".repeat(10), "}".repeat(10)),
            format!("x := {}1", "1 +\n".repeat(20_000)),
            format!("x := {}1", "-".repeat(1000)),
            format!("x if {}true", "not ".repeat(200)),
            format!("x := a{}", ".a".repeat(400)),
        ] {
            let started = std::time::Instant::now();
            let _ = load(&format!("package witgate.admission\n{text}\n"));
            assert!(started.elapsed() < Duration::from_secs(30), "`{text:.20}` took {:?}", started.elapsed());
        }
    }

    #[test]
    fn evaluation_ends_at_its_limit() {
        for rules in [
            "admit if { some a in input.n; some b in input.n; some c in input.n; some d in input.n; a + b + c + d < 0 }",
            "x := [a | some a in input.n; some b in input.n; some c in input.n]\nadmit if count(x) < 0",
            "admit if { every a in input.n { every b in input.n { every c in input.n { a + b + c >= 0 } } } }",
        ] {
            let engine = admission(rules).unwrap();
            let input = json!({"n": (0..500).collect::<Vec<_>>()});
            let started = std::time::Instant::now();
            assert!(matches!(engine.evaluate_json(&input), Err(Fault::Timeout(_))), "`{rules}` ended");
            assert!(started.elapsed() < Duration::from_secs(2), "`{rules}` took {:?}", started.elapsed());
        }
    }

    #[test]
    fn a_machine_forgets_the_last_decision() {
        let engine = admission("admit if input.good\nrefuse contains input.x").unwrap();
        for (input, admit, refuse) in [
            ("{\"good\":true,\"x\":1}", true, json!([1])),
            ("{}", false, json!([])),
            ("{\"good\":true}", true, json!([])),
        ] {
            let answer = engine.evaluate_json(&text(input)).unwrap();
            assert_eq!((&answer["admit"], &answer["refuse"]), (&json!(admit), &refuse));
        }
    }

    #[test]
    fn a_function_that_fails_ends_its_own_expression_only() {
        let rules =
            "admit if upper(input.x) == \"A\"\nrefuse contains x if { some x in input.l; startswith(x, \"evil\") }";
        let engine = admission(rules).unwrap();
        let answer = engine.evaluate_json(&text("{\"x\":1,\"l\":[1,\"evil1\",null,\"evil2\",{}]}")).unwrap();
        assert_eq!(answer["admit"], false);
        assert_eq!(answer["refuse"], json!(["evil1", "evil2"]));
        assert_eq!(engine.evaluate_json(&text("{\"x\":\"a\",\"l\":[]}")).unwrap()["admit"], true);
    }

    #[test]
    fn a_panic_inside_is_a_broken_machine() {
        let engine = admission("admit if sprintf(input.x, [1]) == \"1\"").unwrap();
        assert!(matches!(
            engine.evaluate_json(&text("{\"x\":\"%\u{bd}d\"}")),
            Err(Fault::Broken(_) | Fault::Failed(_))
        ));
        assert_eq!(engine.evaluate_json(&text("{\"x\":\"%d\"}")).unwrap()["admit"], true);
    }

    #[test]
    fn grants_that_contradict_themselves_admit_nobody() {
        let engine = admission("admit := true\ngrants := {} if input.a\ngrants := {\"links\": []} if input.b").unwrap();
        assert!(matches!(engine.evaluate_json(&text("{\"a\":true,\"b\":true}")), Err(Fault::Failed(_))));
        assert_eq!(engine.evaluate_json(&text("{\"a\":true}")).unwrap()["grants"], json!({}));
    }

    #[test]
    fn a_verdict_that_contradicts_itself_is_no_admission() {
        let engine = admission("admit := true if input.a\nadmit := false if input.b").unwrap();
        match engine.evaluate_json(&text("{\"a\":true,\"b\":true}")) {
            Ok(answer) => assert_eq!(answer["admit"], false),
            Err(fault) => assert!(matches!(fault, Fault::Failed(_))),
        }
    }
}
