//! How deep a compiled policy could go, found before it runs.

use std::collections::BTreeMap;
use std::ops::Range;

use regorus::rvm::Instruction;
use regorus::rvm::instructions::LiteralOrRegister;
use regorus::rvm::program::Program;

use super::LoadError;

/// Refuses what no clock stops: circles and towers of rules, and values nested without end.
///
/// The machine evaluates a rule inside a rule on the thread's own stack, and drops, compares and prints values there.
pub(super) fn check_bounds(program: &Program) -> Result<(), LoadError> {
    let rules = rules(program);
    let mut depths = vec![None; rules.len()];
    for start in 0..rules.len() {
        let depth = depth(program, &rules, &mut depths, &mut vec![start])?;
        if depth > MAX_RULE_DEPTH {
            let rule = rule_name(program, start);
            return Err(LoadError::TooDeep { rule, depth, limit: MAX_RULE_DEPTH });
        }
    }
    let mut levels = vec![None; rules.len()];
    for rule in 0..rules.len() {
        let Levels { added, below } = value_levels(&rules, &mut levels, rule);
        let found = added.saturating_add(below);
        if found > MAX_VALUE_LEVELS {
            let what = format!("nesting that `{}` could give a value, in levels,", rule_name(program, rule));
            return Err(LoadError::Limit { what, found, limit: MAX_VALUE_LEVELS });
        }
    }
    Ok(())
}

/// One rule or function as its instructions show it.
struct Rule {
    is_function: bool,
    /// Alternatives: each definition, each `else`.
    bodies: Vec<Body>,
    /// What takes arguments apart in front of a body.
    heads: Vec<Body>,
}

#[derive(Default)]
struct Body {
    /// Instructions that put a level around a value.
    wraps: usize,
    /// The rules it calls, as often as it says so.
    calls: Vec<usize>,
}

impl Rule {
    fn calls(&self) -> impl Iterator<Item = usize> {
        self.bodies.iter().chain(&self.heads).flat_map(|body| body.calls.iter().copied())
    }
}

/// How deep a value may be.
#[derive(Clone, Copy, Default)]
struct Levels {
    /// What is wrapped around the values it starts from.
    added: usize,
    /// The deepest of the values it starts from.
    below: usize,
}

impl Levels {
    fn deeper_of(self, other: Self) -> Self {
        Self { added: self.added.max(other.added), below: self.below.max(other.below) }
    }
}

/// The longest chain of rules below the last one of `path`; its own recursion is at most one level past the limit deep.
fn depth(
    program: &Program,
    rules: &[Rule],
    depths: &mut [Option<usize>],
    path: &mut Vec<usize>,
) -> Result<usize, LoadError> {
    let rule = *path.last().expect("the path begins with a rule");
    if let Some(depth) = depths[rule] {
        return Ok(depth);
    }
    let mut deepest = 0;
    for callee in rules[rule].calls() {
        if let Some(start) = path.iter().position(|above| *above == callee) {
            let chain = path.iter().skip(start).chain([&callee]).map(|rule| rule_name(program, *rule)).collect();
            return Err(LoadError::Recursion { chain });
        }
        if path.len() > MAX_RULE_DEPTH {
            let rule = rule_name(program, path[0]);
            return Err(LoadError::TooDeep { rule, depth: path.len(), limit: MAX_RULE_DEPTH });
        }
        path.push(callee);
        deepest = deepest.max(1 + depth(program, rules, depths, path)?);
        path.pop();
    }
    depths[rule] = Some(deepest);
    Ok(deepest)
}

/// How deep a rule's value may be, once [`depth`] has found no circle and no tower.
///
/// Rego has no variable that a loop could wrap again and again. So a value is never deeper than what its body starts from
/// and the wrapping instructions of the body and of every function call it writes down, taken together.
fn value_levels(rules: &[Rule], memo: &mut [Option<Levels>], rule: usize) -> Levels {
    if let Some(levels) = memo[rule] {
        return levels;
    }
    let of_body = |body: &Body, memo: &mut [Option<Levels>]| {
        let mut levels = Levels { added: body.wraps, below: 0 };
        for &callee in &body.calls {
            let Levels { added, below } = value_levels(rules, memo, callee);
            if rules[callee].is_function {
                // It may wrap what the call before it gave.
                levels.added = levels.added.saturating_add(added);
                levels.below = levels.below.max(below);
            } else {
                // The same value wherever it is named.
                levels.below = levels.below.max(added.saturating_add(below));
            }
        }
        levels
    };
    let mut body = Levels::default();
    let mut head = Levels::default();
    for alternative in &rules[rule].bodies {
        body = body.deeper_of(of_body(alternative, memo));
    }
    for alternative in &rules[rule].heads {
        head = head.deeper_of(of_body(alternative, memo));
    }
    let levels = Levels { added: body.added.saturating_add(head.added), below: body.below.max(head.below) };
    memo[rule] = Some(levels);
    levels
}

/// A piece of a rule in a program: the run of instructions from its entry to the next entry.
pub(super) struct Piece {
    pub rule: usize,
    /// Whether it takes arguments apart, in front of a body.
    pub is_head: bool,
    pub instructions: Range<usize>,
}

/// The pieces of every rule, by their entries.
pub(super) fn pieces(program: &Program) -> Vec<Piece> {
    let mut entries = BTreeMap::new();
    for (rule, info) in program.rule_infos.iter().enumerate() {
        entries.extend(info.definitions.iter().flatten().map(|entry| (*entry as usize, (rule, false))));
        entries.extend(info.destructuring_blocks.iter().flatten().map(|entry| (*entry as usize, (rule, true))));
    }
    let ends = entries.keys().copied().skip(1).chain([program.instructions.len()]);
    let piece = |((&start, &(rule, is_head)), end)| Piece { rule, is_head, instructions: start..end };
    entries.iter().zip(ends).map(piece).collect()
}

/// The rules of a program.
fn rules(program: &Program) -> Vec<Rule> {
    let mut rules: Vec<_> = program
        .rule_infos
        .iter()
        .map(|info| Rule { is_function: info.function_info.is_some(), bodies: Vec::new(), heads: Vec::new() })
        .collect();
    for Piece { rule, is_head, instructions } in pieces(program) {
        let body = body(program, program.instructions.get(instructions).unwrap_or_default());
        if is_head { rules[rule].heads.push(body) } else { rules[rule].bodies.push(body) }
    }
    rules
}

fn body(program: &Program, instructions: &[Instruction]) -> Body {
    let mut body = Body::default();
    for instruction in instructions {
        match instruction {
            Instruction::CallRule { rule_index, .. } => body.calls.push(usize::from(*rule_index)),
            Instruction::FunctionCall { params_index } => {
                let called = program.instruction_data.get_function_call_params(*params_index);
                body.calls.extend(called.map(|call| usize::from(call.func_rule_index)));
            }
            Instruction::VirtualDataDocumentLookup { params_index } => {
                let path = looked_up(program, *params_index);
                body.calls.extend((0..program.rule_infos.len()).filter(|rule| may_be(program, path, *rule)));
                body.wraps += path.len();
            }
            Instruction::ObjectSet { .. }
            | Instruction::ObjectCreate { .. }
            | Instruction::ArrayPush { .. }
            | Instruction::ArrayPushDefined { .. }
            | Instruction::ArrayCreate { .. }
            | Instruction::SetAdd { .. }
            | Instruction::SetCreate { .. }
            | Instruction::ComprehensionYield { .. }
            | Instruction::BuiltinCall { .. } => body.wraps += 1,
            _ => {}
        }
    }
    body
}

/// The rules that a run of instructions may call.
pub(super) fn calls(program: &Program, instructions: &[Instruction]) -> Vec<usize> {
    body(program, instructions).calls
}

/// The path below `data` of a look-up.
pub(super) fn looked_up(program: &Program, params_index: u16) -> &[LiteralOrRegister] {
    let params = program.instruction_data.get_virtual_data_document_lookup_params(params_index);
    params.map_or(&[][..], |params| &params.path_components)
}

/// Whether a path with computed parts may lead to a rule, or to a package above it.
pub(super) fn may_be(program: &Program, path: &[LiteralOrRegister], rule: usize) -> bool {
    let name = rule_name(program, rule);
    path.iter().zip(name.split('.').skip(1)).all(|(part, word)| match part {
        LiteralOrRegister::Literal(index) => match program.literals.get(usize::from(*index)) {
            Some(regorus::Value::String(text)) => text.as_ref() == word,
            _ => true,
        },
        LiteralOrRegister::Register(_) => true,
    })
}

fn rule_name(program: &Program, index: usize) -> String {
    program.rule_infos.get(index).map_or_else(|| index.to_string(), |info| info.name.clone())
}

/// Rules inside rules: a level takes some kilobytes of a thread's stack of 2 MiB.
const MAX_RULE_DEPTH: usize = 48;
/// Levels of nesting that a policy could put around a value: some hundred bytes of a thread's stack of 2 MiB each.
const MAX_VALUE_LEVELS: usize = 2048;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::*;
    use crate::policy::bundle::Source;
    use crate::policy::engine::Engine;

    fn admission(rules: &str) -> Result<Engine, LoadError> {
        let text = format!("package witgate.admission\n\n{rules}\n");
        Engine::compile(&[Source { name: "p.rego".into(), text }], &json!({}), Duration::from_millis(100))
    }

    #[test]
    fn refuses_rules_that_run_in_circles() {
        for rules in [
            "f(x) := f(x + 1)\nadmit if f(1)",
            "f(x) := g(x)\ng(x) := f(x)\nadmit if f(1)",
            "admit if b\nadmit if c\nb if c\nc if b",
            "admit if data.witgate.admission[input.name]",
            "a := {x | some x in b}\nb := {x | some x in a}\nadmit if a",
        ] {
            let error = admission(rules).map(|_| ()).unwrap_err();
            let known = matches!(&error, LoadError::Recursion { .. })
                || matches!(&error, LoadError::Compile { report } if report.contains("ecursion"));
            assert!(known, "`{rules}` gave {error}");
        }
    }

    #[test]
    fn refuses_towers_of_rules_past_the_limit() {
        let tower = |levels: usize| {
            let mut rules = format!("admit if r0\nr{levels} := true\n");
            for level in 0..levels {
                rules.push_str(&format!("r{level} if r{}\n", level + 1));
            }
            rules
        };
        // Two levels stand above: the entry and its `admit`.
        let engine = admission(&tower(MAX_RULE_DEPTH - 3)).unwrap();
        assert_eq!(engine.evaluate_json(&json!({})).unwrap()["admit"], true);
        assert!(matches!(admission(&tower(MAX_RULE_DEPTH + 3)).map(|_| ()), Err(LoadError::TooDeep { .. })));
        assert!(admission(&tower(2000)).is_err());
    }

    #[test]
    fn a_value_too_deep_for_the_stack_is_never_built() {
        let towers = |levels: usize| {
            let mut rules = String::from("f0(x) := [[[[[[[[x]]]]]]]]\n");
            for level in 1..=levels {
                rules.push_str(&format!("f{level}(x) := x9 if {{\n\tx0 := x\n"));
                for step in 0..9 {
                    rules.push_str(&format!("\tx{} := f{}(x{step})\n", step + 1, level - 1));
                }
                rules.push_str("}\n");
            }
            rules.push_str(&format!("admit if f{levels}(1) == f{levels}(1)\nrefuse contains f{levels}(2)\n"));
            rules
        };
        // 8 x 9 x 9 levels twice, and once more in what is answered; five storeys would be 472,392 and overflow.
        let answer = admission(&towers(2)).unwrap().evaluate_json(&json!({})).unwrap();
        assert_eq!(answer["admit"], true);
        for levels in [3, 5, 40] {
            assert!(matches!(admission(&towers(levels)).map(|_| ()), Err(LoadError::Limit { .. })));
        }
    }
}
