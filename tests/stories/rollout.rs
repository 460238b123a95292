//! Policies that change while the gateway runs, modes, and what is refused before anybody is asked.

use std::path::PathBuf;

use serde_json::{Value, json};
use witgate::case::{Mode, Timestamp};
use witgate::dev::deployment::{SignedBy, host_id, policy_data};
use witgate::dev::registry::push::Pushed;
use witgate::dev::spiffe::Leaf;
use witgate_tests::{ALIAS, World, components, ticket_id};

/// A world whose policy is looked at when a story says so.
async fn world(more: &str) -> World {
    let more = more.to_owned();
    World::with(|setup| setup.more = more).await
}

fn file(world: &World) -> PathBuf {
    world.folder().join("policy-data/data.json")
}

/// Replaces the policy's data as people should: written beside it, then `mv`.
fn rewrite(world: &World, change: impl FnOnce(&mut Value)) {
    let text = std::fs::read_to_string(file(world)).unwrap();
    let host = world.deployment.registry.host();
    let mut data = policy_data(if text.contains(ALIAS) { ALIAS } else { &host });
    change(&mut data);
    let temporary = file(world).with_extension("new");
    std::fs::write(&temporary, data.to_string()).unwrap();
    std::fs::rename(temporary, file(world)).unwrap();
}

/// Two looks: what differs has to lie still.
async fn look(world: &World) {
    for _ in 0..2 {
        world.deployment.service.gate().look_at_policy(Timestamp::now()).await;
    }
}

async fn publish(world: &World, name: &str) -> Pushed {
    world.publish(name, components::command(&format!("{name}\n"))).await
}

/// The details of the events of one kind, oldest first.
async fn events(world: &World, kind: &str) -> Vec<Value> {
    let reader = world.deployment.service.gate().audit.reader();
    let query = witgate::audit::Query { limit: 100, ..Default::default() };
    let records = reader.list(&query).await.unwrap();
    records.into_iter().filter(|record| record.kind.as_str() == kind).filter_map(|record| record.detail).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_follows_its_files_and_revokes_what_it_no_longer_admits() {
    let world = world("").await;
    let (kept, dropped) = (publish(&world, "kept").await, publish(&world, "dropped").await);
    let mut tickets = Vec::new();
    for pushed in [&kept, &dropped] {
        let granted = world.host.admit(&pushed.reference).await;
        assert_eq!(granted.status, 200, "{}", granted.body);
        tickets.push(ticket_id(&granted));
    }
    let registry = world.deployment.registry.host();
    let before = world.deployment.service.gate().policy.current().facts().clone();
    rewrite(&world, |data| data["witgate"]["grants"][0]["references"] = json!([format!("{registry}/demo/kept")]));
    let asked = world.deployment.registry.requests().len();
    look(&world).await;

    let fetch = async |pushed: &Pushed, ticket: &str| {
        world.host.component(&pushed.component.to_string(), Some(ticket)).await.status
    };
    assert_eq!(fetch(&kept, &tickets[0]).await, 200, "admitted as before, so its ticket holds");
    assert_eq!(fetch(&dropped, &tickets[1]).await, 403, "no longer admitted");
    assert_eq!(world.deployment.registry.requests().len(), asked, "looked at again by what the log holds");
    let refused = world.host.admit(&dropped.reference).await;
    assert_eq!((refused.status, refused.codes()), (403, vec!["caller-not-granted"]));
    let granted = world.host.admit(&kept.reference).await;
    assert_eq!(granted.status, 200, "{}", granted.body);

    let after = world.deployment.service.gate().policy.current().facts().clone();
    let published = events(&world, "policy.publish").await;
    assert_eq!(published.len(), 1, "{published:?}");
    assert_eq!(published[0]["before"]["digest"], before.digest.to_string());
    assert_eq!(published[0]["policy"]["digest"], after.digest.to_string());
    let reviewed = events(&world, "grant.review").await;
    assert_eq!((&reviewed[0]["kept"], &reviewed[0]["revoked"]), (&json!(1), &json!(1)), "{reviewed:?}");
    assert_eq!(reviewed[0]["decisions"].as_array().map(Vec::len), Some(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pull_grant_goes_on_under_a_policy_that_gives_it_too() {
    let world = World::behind_the_door(|_| {}).await;
    let pushed = publish(&world, "pulled").await;
    assert_eq!(world.host.pull("pulled", "manifests/1.0").await.status, 200);
    let blob = format!("blobs/{}", pushed.component);
    rewrite(&world, |data| data["own"] = json!("another digest, the same answers"));
    look(&world).await;
    let decisions = world.log_size().await;
    assert_eq!(world.host.pull("pulled", &blob).await.status, 200);
    assert_eq!(world.log_size().await, decisions, "nothing was decided anew");
    rewrite(&world, |data| data["witgate"]["grants"] = json!([]));
    look(&world).await;
    assert_eq!(world.host.pull("pulled", &blob).await.status, 404);
    assert_eq!(
        world.host.pull("pulled", "manifests/1.0").await.status,
        404,
        "who is granted nothing is told of nothing"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a18_3_a_policy_that_does_not_load_replaces_nothing_and_is_told() {
    let world = world("").await;
    let pushed = publish(&world, "same").await;
    let before = world.deployment.service.gate().policy.current().facts().clone();
    std::fs::write(file(&world), "{\"witgate\": {\"grant\": []}}").unwrap();
    look(&world).await;
    assert_eq!(*world.deployment.service.gate().policy.current().facts(), before);
    assert_eq!(world.host.admit(&pushed.reference).await.status, 200);
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let ready = client.get(format!("{}/readyz", world.deployment.service.administration_url())).send().await.unwrap();
    assert_eq!(ready.status().as_u16(), 200, "it answers, by the policy before");
    let ready: Value = ready.json().await.unwrap();
    assert_eq!(ready["degraded"][0]["name"], "policy", "{ready}");
    assert!(ready["degraded"][0]["detail"].as_str().unwrap().contains("data.json"), "{ready}");
    assert!(events(&world, "policy.publish").await.is_empty());
    rewrite(&world, |_| {});
    look(&world).await;
    assert_eq!(world.host.admit(&pushed.reference).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_have_it_in_any_case_is_told_before_anybody_is_asked() {
    let world = world("").await;
    let pushed = publish(&world, "nobodys").await;
    rewrite(&world, |data| data["witgate"]["grants"][0]["callers"] = json!([host_id("a")]));
    look(&world).await;
    let stranger = world.caller(&host_id("b"), &Leaf::new(Timestamp::now())).await.unwrap();
    let asked = world.deployment.registry.requests().len();
    let refused = stranger.admit(&pushed.reference).await;
    assert_eq!((refused.status, refused.codes()), (403, vec!["caller-not-granted"]));
    let absent = format!("{}/demo/absent:1.0", world.deployment.registry.host());
    let same = stranger.admit(&absent).await;
    assert_eq!(
        (same.status, same.codes()),
        (403, vec!["caller-not-granted"]),
        "what is there and what is not look alike"
    );
    assert_eq!(world.deployment.registry.requests().len(), asked);
    let record = stranger.get(&format!("/v1/decisions/{}", refused.decision())).await;
    assert_eq!(record.body["case"]["surface"]["status"], "unseen", "{}", record.body);
    assert_eq!(world.host.admit(&pushed.reference).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mode_lets_pass_what_policy_refuses_and_records_it() {
    for (mode, warned) in [(Mode::Warn, true), (Mode::Observe, false)] {
        let world = World::start().await.restart(|config| config.policy.mode = mode).await;
        let pushed = world.publish_signed("unsigned", components::command("x\n"), SignedBy::Nobody).await;
        let passed = world.host.admit(&pushed.reference).await;
        assert_eq!(passed.status, 200, "{}", passed.body);
        let warnings = passed.body["warnings"].as_array().map_or(0, Vec::len);
        assert_eq!(warnings > 0, warned, "{}", passed.body);
        let record = world.host.get(&format!("/v1/decisions/{}", passed.decision())).await;
        assert_eq!(record.body["decision"]["would_refuse"][0]["code"], "no-verified-signature", "{}", record.body);
        let broken = world.publish_signed("broken", b"\0asm\x01\0\0\0".to_vec(), SignedBy::Nobody).await;
        let refused = world.host.admit(&broken.reference).await;
        assert!(refused.status == 403 && refused.codes().contains(&"component-unreadable"), "{}", refused.body);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn break_glass_is_loud_and_needs_to_say_why() {
    let world = world("").await;
    let pushed = world.publish_signed("emergency", components::command("x\n"), SignedBy::Nobody).await;
    let ask =
        |justification: &str| json!({"reference": pushed.reference, "break_glass": {"justification": justification}});
    for empty in ["", "  ", &"x".repeat(1025)] {
        assert_eq!(world.host.ask(ask(empty)).await.status, 422);
    }
    let misspelt = json!({"reference": pushed.reference, "break_glass": {"because": "x"}});
    assert_eq!(world.host.ask(misspelt).await.status, 422);
    let refused = world.host.ask(ask("the shop is down, INC-7")).await;
    assert!(refused.status == 403 && refused.codes().contains(&"break-glass-denied"), "{}", refused.body);
    let logged = events(&world, "breakglass").await;
    assert_eq!(logged.len(), 1, "{logged:?}");
    assert_eq!(logged[0]["justification"], "the shop is down, INC-7");
    assert_eq!((&logged[0]["verdict"], &logged[0]["caller"]), (&json!("refuse"), &json!(host_id("a"))));
    assert_eq!(logged[0]["decision"], refused.decision());

    // Somebody whom the policy names is let past what it names, and that is told and recorded as loudly.
    let rule = json!({"callers": [host_id("a")], "references": ["*"], "codes": ["no-verified-signature"],
        "expires": ahead_days(30)});
    rewrite(&world, |data| data["witgate"]["break_glass"] = json!([rule]));
    look(&world).await;
    let passed = world.host.ask(ask("the shop is down, INC-7")).await;
    assert_eq!(passed.status, 200, "{}", passed.body);
    assert!(passed.body["warnings"].to_string().contains("break-glass"), "{}", passed.body);
    let logged = events(&world, "breakglass").await;
    assert_eq!((logged.len(), &logged[1]["verdict"]), (2, &json!("admit")));
    // Without asking for it nothing is lifted, and what was let past is not held.
    assert_eq!(world.host.admit(&pushed.reference).await.status, 403);
    assert_eq!(world.host.ask(ask("once more")).await.status, 200);
    assert_eq!(events(&world, "breakglass").await.len(), 3);
}

/// A time so many days from now, to the second.
fn ahead_days(days: i64) -> String {
    let now = Timestamp::from_second(Timestamp::now().as_second()).unwrap();
    (now + jiff::SignedDuration::from_hours(24 * days)).to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exemption_admits_until_it_is_taken_back_and_its_grants_go_with_it() {
    let world = world("").await;
    let pushed = world.publish_signed("exempt", components::command("x\n"), SignedBy::Nobody).await;
    assert_eq!(world.host.admit(&pushed.reference).await.status, 403);
    let exemption = json!({"id": "EX-1", "scope": {"tenant": "default", "environment": "default"}, "references": ["*"],
        "codes": ["no-verified-signature"], "owner": "shop@demo.example", "approved_by": "security@demo.example",
        "reason": "signed from next week on", "starts": ahead_days(-1), "expires": ahead_days(10)});
    rewrite(&world, |data| data["witgate"]["exemptions"] = json!([exemption]));
    look(&world).await;
    let passed = world.host.admit(&pushed.reference).await;
    assert_eq!(passed.status, 200, "{}", passed.body);
    assert!(passed.body["warnings"].to_string().contains("EX-1"), "{}", passed.body);
    let ticket = ticket_id(&passed);
    let component = pushed.component.to_string();
    assert_eq!(world.host.component(&component, Some(&ticket)).await.status, 200);
    rewrite(&world, |_| {});
    look(&world).await;
    assert_eq!(world.host.component(&component, Some(&ticket)).await.status, 403, "revoked with what it rested on");
    assert_eq!(world.host.admit(&pushed.reference).await.status, 403);
}
