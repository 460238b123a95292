//! What can be refused before anything is fetched: the refusals that read nothing but who asks, for what, where and when.

use std::sync::Arc;

use regorus::Value;
use regorus::rvm::Instruction;
use regorus::rvm::instructions::LiteralOrRegister;
use regorus::rvm::program::Program;

use super::bounds::{calls, looked_up, pieces};

/// `program` with those definitions of `data.witgate.admission.refuse` alone that read nothing which has to be fetched, and
/// call only rules that read nothing of it either; `None` where there are none.
///
/// A partial evaluation whose unknowns are the fields of the input that [`KNOWN`] leaves out. Whatever this look at the
/// instructions does not understand counts as reading everything.
pub(super) fn program(program: &Program) -> Option<Program> {
    let refuse = program.rule_infos.iter().position(|info| info.name == REFUSE)?;
    let mut reads = vec![false; program.rule_infos.len()];
    let mut called = vec![Vec::new(); program.rule_infos.len()];
    let mut fetched = vec![Vec::new(); program.rule_infos.len()];
    for piece in pieces(program) {
        let instructions = program.instructions.get(piece.instructions.clone()).unwrap_or_default();
        let reads_here = reads_fetched(program, instructions);
        reads[piece.rule] |= reads_here;
        let callees = calls(program, instructions);
        fetched[piece.rule].push((piece.instructions.start, reads_here, callees.clone()));
        called[piece.rule].extend(callees);
    }
    // What a rule calls, it reads: until nothing changes any more.
    loop {
        let before = reads.clone();
        for rule in 0..reads.len() {
            reads[rule] |= called[rule].iter().any(|callee| reads.get(*callee).copied().unwrap_or(true));
        }
        if reads == before {
            break;
        }
    }
    let is_early = |entry: &u32| {
        fetched[refuse].iter().any(|(start, reads_here, callees)| {
            *start == *entry as usize && !reads_here && callees.iter().all(|callee| !reads[*callee])
        })
    };
    let mut early = program.clone();
    let info = early.rule_infos.get_mut(refuse)?;
    let heads = info.destructuring_blocks.iter().map(Option::is_some).chain(std::iter::repeat(false));
    let kept: Vec<bool> = info
        .definitions
        .iter()
        .zip(heads)
        .map(|(bodies, has_head)| !has_head && !bodies.is_empty() && bodies.iter().all(is_early))
        .collect();
    if !kept.contains(&true) {
        return None;
    }
    info.definitions = Arc::new(keep(info.definitions.iter().cloned(), &kept));
    info.destructuring_blocks = keep(info.destructuring_blocks.iter().copied(), &kept);
    info.else_bodies = keep(info.else_bodies.iter().cloned(), &kept);
    Some(early)
}

fn keep<T>(all: impl Iterator<Item = T>, kept: &[bool]) -> Vec<T> {
    all.zip(kept).filter_map(|(one, kept)| kept.then_some(one)).collect()
}

/// Whether a run of instructions reads more of the input than the fields of [`KNOWN`].
fn reads_fetched(program: &Program, instructions: &[Instruction]) -> bool {
    instructions.iter().any(|instruction| match instruction {
        Instruction::LoadInput { dest } => {
            let others = instructions.iter().filter(|other| !std::ptr::eq(*other, instruction));
            others.into_iter().any(|other| mentions(program, other, *dest) && !takes_known(program, other, *dest))
        }
        Instruction::HostAwait { .. } | Instruction::LoadContext { .. } | Instruction::LoadMetadata { .. } => true,
        _ => false,
    })
}

/// Whether an instruction takes one of the fields of [`KNOWN`] out of the input, which lies in `input`, and does nothing else to it.
fn takes_known(program: &Program, instruction: &Instruction, input: u8) -> bool {
    let is_known = |literal: u16| match program.literals.get(usize::from(literal)) {
        Some(Value::String(name)) => KNOWN.contains(&name.as_ref()),
        _ => false,
    };
    match instruction {
        Instruction::IndexLiteral { dest, container, literal_idx } => {
            *dest != input && *container == input && is_known(*literal_idx)
        }
        Instruction::ChainedIndex { params_index } => {
            let Some(params) = program.instruction_data.get_chained_index_params(*params_index) else { return false };
            let mut parts = params.path_components.iter();
            let first =
                parts.next().is_some_and(|part| matches!(part, LiteralOrRegister::Literal(name) if is_known(*name)));
            first
                && params.dest != input
                && params.root == input
                && parts.all(|part| !matches!(part, LiteralOrRegister::Register(register) if *register == input))
        }
        _ => false,
    }
}

/// Whether an instruction reads or writes a register; true of every instruction that is not looked into here.
fn mentions(program: &Program, instruction: &Instruction, register: u8) -> bool {
    let data = &program.instruction_data;
    let any = |registers: &[u8]| registers.contains(&register);
    let in_path = |path: &[LiteralOrRegister]| {
        path.iter().any(|part| matches!(part, LiteralOrRegister::Register(used) if *used == register))
    };
    match instruction {
        Instruction::Load { dest, .. }
        | Instruction::LoadTrue { dest }
        | Instruction::LoadFalse { dest }
        | Instruction::LoadNull { dest }
        | Instruction::LoadBool { dest, .. }
        | Instruction::LoadData { dest }
        | Instruction::LoadInput { dest }
        | Instruction::CallRule { dest, .. }
        | Instruction::ArrayNew { dest }
        | Instruction::SetNew { dest } => any(&[*dest]),
        Instruction::Move { dest, src } => any(&[*dest, *src]),
        Instruction::Not { dest, operand } => any(&[*dest, *operand]),
        Instruction::Add { dest, left, right }
        | Instruction::Sub { dest, left, right }
        | Instruction::Mul { dest, left, right }
        | Instruction::Div { dest, left, right }
        | Instruction::Mod { dest, left, right }
        | Instruction::Eq { dest, left, right }
        | Instruction::Ne { dest, left, right }
        | Instruction::Lt { dest, left, right }
        | Instruction::Le { dest, left, right }
        | Instruction::Gt { dest, left, right }
        | Instruction::Ge { dest, left, right }
        | Instruction::And { dest, left, right }
        | Instruction::Or { dest, left, right } => any(&[*dest, *left, *right]),
        Instruction::AssertEq { left, right } => any(&[*left, *right]),
        Instruction::Guard { register: used, .. } => any(&[*used]),
        Instruction::Return { value } => any(&[*value]),
        Instruction::RuleInit { result_reg, .. } => any(&[*result_reg]),
        Instruction::RuleReturn {} | Instruction::LoopNext { .. } | Instruction::ComprehensionEnd {} => false,
        Instruction::ObjectSet { obj, key, value } => any(&[*obj, *key, *value]),
        Instruction::ArrayPush { arr, value } => any(&[*arr, *value]),
        Instruction::SetAdd { set, value } => any(&[*set, *value]),
        Instruction::Index { dest, container, key } => any(&[*dest, *container, *key]),
        Instruction::IndexLiteral { dest, container, .. } => any(&[*dest, *container]),
        Instruction::Contains { dest, collection, value } => any(&[*dest, *collection, *value]),
        Instruction::Count { dest, collection } => any(&[*dest, *collection]),
        Instruction::ComprehensionYield { value_reg, key_reg } => any(&[*value_reg]) || *key_reg == Some(register),
        Instruction::BuiltinCall { params_index } => data
            .builtin_call_params
            .get(usize::from(*params_index))
            .is_none_or(|call| any(&[call.dest]) || any(&call.args[..call.arg_count().min(call.args.len())])),
        Instruction::FunctionCall { params_index } => data
            .function_call_params
            .get(usize::from(*params_index))
            .is_none_or(|call| any(&[call.dest]) || any(&call.args[..call.arg_count().min(call.args.len())])),
        Instruction::ObjectCreate { params_index } => {
            data.object_create_params.get(usize::from(*params_index)).is_none_or(|object| {
                any(&[object.dest])
                    || object.literal_key_fields.iter().any(|(_, value)| any(&[*value]))
                    || object.fields.iter().any(|(key, value)| any(&[*key, *value]))
            })
        }
        Instruction::ArrayCreate { params_index } => data
            .array_create_params
            .get(usize::from(*params_index))
            .is_none_or(|list| any(&[list.dest]) || any(&list.elements)),
        Instruction::SetCreate { params_index } => data
            .set_create_params
            .get(usize::from(*params_index))
            .is_none_or(|list| any(&[list.dest]) || any(&list.elements)),
        Instruction::ChainedIndex { params_index } => data
            .get_chained_index_params(*params_index)
            .is_none_or(|chain| any(&[chain.dest, chain.root]) || in_path(&chain.path_components)),
        Instruction::VirtualDataDocumentLookup { params_index } => data
            .get_virtual_data_document_lookup_params(*params_index)
            .is_none_or(|params| any(&[params.dest]) || in_path(looked_up(program, *params_index))),
        Instruction::LoopStart { params_index } => data
            .loop_params
            .get(usize::from(*params_index))
            .is_none_or(|each| any(&[each.collection, each.key_reg, each.value_reg, each.result_reg])),
        Instruction::ComprehensionBegin { params_index } => data
            .comprehension_begin_params
            .get(usize::from(*params_index))
            .is_none_or(|begun| any(&[begun.collection_reg, begun.result_reg, begun.key_reg, begun.value_reg])),
        _ => true,
    }
}

const REFUSE: &str = "data.witgate.admission.refuse";
/// The fields of a case that are known before anything is fetched.
const KNOWN: &[&str] =
    &["version", "id", "time", "scope", "mode", "purpose", "caller", "host", "links", "reference", "break_glass"];

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::{Value, json};

    use crate::case::{ArtifactFacts, Case, Evidence, Surface};
    use crate::policy::bundle::Source;
    use crate::policy::decide::tests::case;
    use crate::policy::engine::Engine;

    fn unseen() -> Case {
        Case { artifact: ArtifactFacts::unseen(), evidence: Evidence::default(), surface: Surface::Unseen, ..case() }
    }

    /// The codes that rules say early, in the order of their texts.
    fn early(rules: &str) -> Vec<String> {
        let text = format!("package witgate.admission\n\n{rules}\n");
        let sources = [Source { name: "p.rego".into(), text }];
        let engine = Engine::compile(&sources, &json!({"list": ["a"]}), Duration::from_secs(10)).unwrap();
        let Value::Array(said) = engine.refuse_early(&unseen()).unwrap() else { panic!("no list") };
        said.iter().map(|code| code.as_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn says_what_needs_nothing_fetched() {
        for rules in [
            "refuse contains \"x\" if input.caller.kind == \"x509-svid\"",
            "refuse contains \"x\" if not input.reference.digest",
            "refuse contains \"x\" if input[\"caller\"].id != \"other\"",
            "refuse contains \"x\" if count(input.links) == 0",
            "refuse contains \"x\" if not granted\ngranted if { some name in data.list; startswith(input.caller.id, name) }",
            "refuse contains \"x\" if f(input.caller)\nf(caller) if caller.id",
            "refuse contains \"x\" if time.parse_rfc3339_ns(input.time) > 0",
            "refuse contains x if { some x in {\"x\" | input.host == input.caller.id} }",
        ] {
            assert_eq!(early(rules), ["x"], "{rules}");
        }
    }

    #[test]
    fn says_nothing_that_reads_what_is_not_there_yet() {
        for rules in [
            "refuse contains \"x\" if not input.evidence.findings[0]",
            "refuse contains \"x\" if count(input.evidence.findings) == 0",
            "refuse contains \"x\" if input.surface.status != \"component\"",
            "refuse contains \"x\" if input[\"surface\"].status == \"unseen\"",
            "refuse contains \"x\" if { some name in [\"surface\"]; input[name].status == \"unseen\" }",
            "refuse contains \"x\" if not input.previous",
            "refuse contains \"x\" if { caller := input.caller; caller.id; not input.artifact.component }",
            "refuse contains \"x\" if { it := input; not it.artifact.component }",
            "refuse contains \"x\" if f(input)\nf(it) if not it.artifact.component",
            "refuse contains \"x\" if { some key, value in input; key == \"surface\"; value.status == \"unseen\" }",
            "refuse contains \"x\" if { walked := [input]; walked[0].surface.status == \"unseen\" }",
            "refuse contains \"x\" if not signed\nsigned if input.evidence.findings[0]",
            "refuse contains \"x\" if not a\na if b\nb if c\nc if input.evidence.findings[0]",
            "refuse contains \"x\" if not data.witgate.admission.signed\nsigned if input.evidence.findings[0]",
            "refuse contains \"x\" if { every name in input.links { name }; object.get(input, \"surface\", {}).status == \"unseen\" }",
            "refuse contains \"x\" if json.marshal(input) != \"\"",
        ] {
            assert_eq!(early(rules), [""; 0], "{rules}");
        }
    }

    #[test]
    fn tells_one_definition_from_another() {
        let rules = "refuse contains \"a\" if input.caller.id\nrefuse contains \"b\" if not input.evidence.findings[0]\n\
                     refuse contains \"c\" if input.host";
        assert_eq!(early(rules), ["a", "c"]);
        assert_eq!(early("admit := true"), [""; 0]);
    }
}
