//! Administration: accounts, projects, keys, adjustments, health. For who presents an operator's token, within its scopes.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use super::{
    Request, audit, billing, bounds, browser, catalog, currency, lists, ok, operator, oversight, owner, scope, spend, tokens,
    topups, with_status,
};
use crate::account::{
    AccountRecord, ActKind, Adjustment, Answer, By, Command, KeyChange, Listed, OPERATOR, ProjectRecord, Query, Signed,
};
use crate::body::Arriving;
use crate::catalog::Catalog;
use crate::id::{AccountId, BucketId, KeyId, KeySecret, ProjectId};
use crate::key::{Budget, KeyRecord, Policy};
use crate::money::Money;
use crate::operator::Operator;
use crate::ports::Records;
use crate::probe;
use crate::refusal::{Code, Refusal};
use crate::relay::{Reply, check_idempotency_key, unavailable};

const LONGEST_NAME: usize = 200;
const LONGEST_NOTE: usize = 500;

/// Answers a request under `/admin/v1/`.
pub async fn handle<P: Records, B: Arriving>(ports: &P, request: Request<B>, path: &str) -> Result<Reply, Refusal> {
    let who = &operator::authenticated(ports, &request.head).await?;
    if request.method == "OPTIONS"
        && let Some(reply) = browser::options(path)
    {
        return Ok(reply);
    }
    super::table::check(&request.method, path)?;
    scope::check(who, &request.method, path)?;
    check_idempotency_key(request.head.idempotency_key.as_deref())?;
    let parts: Vec<&str> = path.trim_start_matches("/admin/v1/").split('/').collect();
    let method = request.method.clone();
    match (method.as_str(), parts.as_slice()) {
        ("POST", ["accounts"]) => open_account(ports, who, read(request.body).await?).await,
        ("GET", ["accounts"]) => list_accounts(ports, &request).await,
        ("GET", ["accounts", account]) => show_account(ports, &account_id(account)?).await,
        ("POST", ["accounts", account, "projects"]) => {
            put_project(ports, who, account_id(account)?, read(request.body).await?).await
        }
        ("GET", ["accounts", account, "projects"]) => list(ports, &account_id(account)?, Query::Projects).await,
        ("POST", ["accounts", account, "keys"]) => make_key(ports, who, account_id(account)?, read(request.body).await?).await,
        ("GET", ["accounts", account, "keys"]) => list(ports, &account_id(account)?, Query::Keys).await,
        ("PATCH", ["accounts", account, "keys", key]) => {
            change_key(ports, who, (account_id(account)?, key), read(request.body).await?).await
        }
        ("DELETE", ["accounts", account, "keys", key]) => {
            let change = KeyChange { policy: Map::new(), label: None, revoke: true, by: Some(signature(who, &request)?) };
            apply_change(ports, account_id(account)?, key, change).await
        }
        ("DELETE", ["accounts", account, "sessions"]) => tokens::end_sessions(ports, who, &account_id(account)?, &request).await,
        ("POST", ["accounts", account, "adjustments"]) => {
            let id = request.head.idempotency_key.clone();
            adjust(ports, who, (account_id(account)?, id), read(request.body).await?).await
        }
        ("GET", ["accounts", account, "receipts", id]) => ok(&owner::whole_receipt(ports, &account_id(account)?, id).await?),
        ("GET", ["accounts", account, "topups"]) => topups::list(ports, &account_id(account)?, &request, true).await,
        ("GET", ["accounts", account, "topups", order]) => ok(&topups::stored(ports, &account_id(account)?, order).await?),
        ("POST", ["accounts", account, "topups", order, "approve"]) => {
            billing::review(ports, who, (&account_id(account)?, order, true), request.body).await
        }
        ("POST", ["accounts", account, "topups", order, "reject"]) => {
            billing::review(ports, who, (&account_id(account)?, order, false), request.body).await
        }
        ("POST", ["accounts", account, "topups", order, "refunds"]) => {
            let idempotency = request.head.idempotency_key.clone();
            billing::refund(ports, who, (&account_id(account)?, order, idempotency.as_deref()), request.body).await
        }
        ("GET", ["topups"]) => billing::orders(ports, &request).await,
        ("POST", ["codes"]) => billing::make_codes(ports, who, request.body).await,
        ("GET", ["codes"]) => billing::list_codes(ports, &request).await,
        ("DELETE", ["codes", id]) => billing::revoke_code(ports, id, signature(who, &request)?).await,
        ("GET", ["receipts"]) => oversight::list(ports, &request, Listed::Receipts).await,
        ("GET", ["ledger"]) => oversight::list(ports, &request, Listed::Entries).await,
        ("GET", ["audit"]) => oversight::list(ports, &request, Listed::Records).await,
        ("GET", ["spend"]) => spend::spend(ports, &request).await,
        ("GET", ["reconcile"]) => oversight::report(ports, &request).await,
        (_, ["catalog", rest @ ..]) => catalog::handle(ports, who, request, rest).await,
        ("GET", ["health"]) => health(ports).await,
        ("POST", ["probe"]) => probe_now(ports, who, read(request.body).await?).await,
        ("GET", ["tokens"]) => tokens::list(ports, &request).await,
        ("POST", ["tokens"]) => tokens::make(ports, who, request.body).await,
        ("DELETE", ["tokens", id]) => tokens::revoke(ports, id, signature(who, &request)?).await,
        ("GET", ["attempts"]) => tokens::attempts(ports, &request).await,
        _ => Err(super::nothing_here()),
    }
}

/// Reads a body of JSON; nothing is an empty object.
pub async fn read<T: DeserializeOwned>(body: impl Arriving) -> Result<T, Refusal> {
    let body = body.await?;
    let body = if body.trim_ascii().is_empty() { b"{}".as_slice() } else { &body };
    let text = std::str::from_utf8(body)
        .map_err(|_| Refusal::new(Code::InvalidJson, "The request body is not UTF-8.", "Send JSON in UTF-8."))?;
    serde_json::from_str(text).map_err(|error| {
        let code = if error.is_data() { Code::InvalidRequest } else { Code::InvalidJson };
        Refusal::new(code, format!("The request body is not valid: {error}."), "Correct the field and send the request again.")
    })
}

/// Reads an account's id from a path.
pub fn account_id(text: &str) -> Result<AccountId, Refusal> {
    if text == OPERATOR {
        return Err(no_account());
    }
    AccountId::parse(text).ok_or_else(|| Refusal::invalid("account", "The account's id has characters that no id has."))
}

fn no_account() -> Refusal {
    Refusal::new(Code::NotFound, "There is no such account.", "Create it with POST /admin/v1/accounts.")
}

/// Text that people read, neither empty nor long.
pub fn name(param: &str, text: String) -> Result<String, Refusal> {
    let is_name = !text.trim().is_empty() && text.len() <= LONGEST_NAME && !text.chars().any(char::is_control);
    if is_name { Ok(text) } else { Err(Refusal::invalid(param, format!("`{param}` must be 1 to {LONGEST_NAME} characters."))) }
}

/// What the customer is told.
pub fn note(note: Option<String>) -> Result<Option<String>, Refusal> {
    let Some(text) = note else { return Ok(None) };
    let is_note = !text.trim().is_empty() && text.len() <= LONGEST_NOTE && !text.chars().any(char::is_control);
    if is_note {
        Ok(Some(text))
    } else {
        Err(Refusal::invalid("note", format!("`note` must be 1 to {LONGEST_NOTE} characters.")))
    }
}

/// Who does something and why, where there is no body to say so.
pub fn signature<B>(who: &Operator, request: &Request<B>) -> Result<By, Refusal> {
    let text = |name: &str| request.param(name).map(ToOwned::to_owned);
    audit::by(who, text("author"), text("reason"))
}

/// Says something to an account that can be refused.
pub async fn command<P: Records>(ports: &P, account: &AccountId, command: Command) -> Result<Answer, Refusal> {
    match ports.command(account, command).await.map_err(unavailable)? {
        Answer::Refused(refusal) => Err(refusal),
        answer => Ok(answer),
    }
}

/// Lets the searchable copy follow at once, so that lists show what was just made. If it cannot, it follows later.
pub async fn flush<P: Records>(ports: &P, account: &AccountId) {
    if let Err(error) = ports.command(account, Command::Flush).await {
        ports.log(&format!("flush: {}", error.0));
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewAccount {
    id: Option<AccountId>,
    name: String,
    author: Option<String>,
    reason: Option<String>,
}

async fn open_account<P: Records>(ports: &P, who: &Operator, new: NewAccount) -> Result<Reply, Refusal> {
    let id = new.id.unwrap_or_else(|| AccountId::new(ports.now(), ports.random()));
    if [probe::HOUSE, OPERATOR].contains(&id.as_str()) {
        return Err(Refusal::invalid("id", format!("`{id}` is an account of the gateway's own; choose another id.")));
    }
    let by = Some(audit::by(who, new.author, new.reason)?);
    let record = AccountRecord { id: id.clone(), name: name("name", new.name)?, created_at: ports.now() };
    command(ports, &id, Command::Open(Signed { record, by })).await?;
    flush(ports, &id).await;
    Ok(Reply { status: 201, ..show_account(ports, &id).await? })
}

async fn show_account<P: Records>(ports: &P, id: &AccountId) -> Result<Reply, Refusal> {
    let catalog = ports.catalog().await.ok();
    ok(&account_view(ports, id, catalog.as_deref()).await?)
}

async fn account_view<P: Records>(ports: &P, id: &AccountId, catalog: Option<&Catalog>) -> Result<Value, Refusal> {
    let overview = owner::overview(ports, id).await?;
    let Some(account) = &overview.account else {
        return Err(no_account());
    };
    let balances = catalog.map_or_else(|| json!(overview.balances), |catalog| json!(owner::balances(&overview, catalog)));
    Ok(json!({"id": account.id, "name": account.name, "created_at": account.created_at, "balances": balances}))
}

async fn list_accounts<P: Records, B>(ports: &P, request: &Request<B>) -> Result<Reply, Refusal> {
    let limit = request.param("limit").map_or(Ok(20), str::parse).ok().filter(|limit| (1..=50).contains(limit));
    let limit: u32 = limit.ok_or_else(|| Refusal::invalid("limit", "`limit` must be a whole number from 1 to 50."))?;
    let records = ports.accounts(request.param("after"), limit).await.map_err(unavailable)?;
    let catalog = ports.catalog().await.ok();
    let mut data = Vec::new();
    for record in &records {
        data.push(account_view(ports, &record.id, catalog.as_deref()).await?);
    }
    ok(&json!({"data": data, "next": lists::next(&records, limit, |record| record.id.clone())}))
}

async fn list<P: Records>(ports: &P, account: &AccountId, query: Query) -> Result<Reply, Refusal> {
    account_view(ports, account, None).await?;
    let rows = owner::rows(ports, account, query).await?;
    let data: Vec<Value> = rows.into_iter().map(|(_, row)| row).collect();
    ok(&json!({"data": data, "next": null}))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewProject {
    id: Option<ProjectId>,
    name: String,
    #[serde(default)]
    budgets: Vec<Budget>,
    author: Option<String>,
    reason: Option<String>,
}

async fn put_project<P: Records>(ports: &P, who: &Operator, account: AccountId, new: NewProject) -> Result<Reply, Refusal> {
    let id = new.id.unwrap_or_else(|| ProjectId::new(ports.now(), ports.random()));
    let name = name("name", new.name)?;
    bounds::check_budgets(new.budgets.len())?;
    check_buckets(ports, new.budgets.iter().map(|budget| &budget.bucket)).await?;
    let record = ProjectRecord { id, account: account.clone(), name, budgets: new.budgets, created_at: ports.now() };
    let by = Some(audit::by(who, new.author, new.reason)?);
    command(ports, &account, Command::PutProject(Signed { record: record.clone(), by })).await?;
    flush(ports, &account).await;
    with_status(201, &record)
}

async fn make_key<P: Records>(
    ports: &P,
    who: &Operator,
    account: AccountId,
    mut fields: Map<String, Value>,
) -> Result<Reply, Refusal> {
    let label = text(&mut fields, "label")?.ok_or_else(|| Refusal::invalid("label", "`label` is required."))?;
    let label = name("label", label)?;
    let no_project = || Refusal::invalid("project", "`project` has characters that no id has.");
    let project = text(&mut fields, "project")?.map(|id| ProjectId::parse(&id).ok_or_else(no_project)).transpose()?;
    let by = Some(audit::by(who, text(&mut fields, "author")?, text(&mut fields, "reason")?)?);
    bounds::check_policy(&fields)?;
    let policy = policy(&fields)?;
    check_buckets(ports, policy.budgets.iter().map(|budget| &budget.bucket)).await?;
    let secret = KeySecret::new(random_bytes(ports));
    let record = KeyRecord {
        id: KeyId::new(ports.now(), ports.random()),
        hash: secret.hash(),
        account: account.clone(),
        project: project.unwrap_or_else(ProjectId::first),
        label,
        version: 1,
        created_at: ports.now(),
        revoked_at: None,
        policy,
    };
    command(ports, &account, Command::PutKey(Box::new(Signed { record: record.clone(), by }))).await?;
    ports.publish_key(&record).await.map_err(unavailable)?;
    flush(ports, &account).await;
    let mut view = key_view(&record);
    if let Some(fields) = view.as_object_mut() {
        fields.insert("secret".to_owned(), secret.reveal().into());
    }
    with_status(201, &view)
}

/// Takes a text out of the fields of a key; the rest is its policy. Null is as if it were not there, but for the label.
fn text(fields: &mut Map<String, Value>, field: &str) -> Result<Option<String>, Refusal> {
    match fields.shift_remove(field) {
        None => Ok(None),
        Some(Value::Null) if field != "label" => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(Refusal::invalid(field, format!("`{field}` must be text."))),
    }
}

/// The policy of these fields. Each is read by itself first, so that the one that is wrong is named.
fn policy(fields: &Map<String, Value>) -> Result<Policy, Refusal> {
    let read = |fields: Value| serde_json::from_str::<Policy>(&fields.to_string());
    for (field, value) in fields {
        let alone: Map<String, Value> = [(field.clone(), value.clone())].into_iter().collect();
        if let Err(error) = read(alone.into()) {
            let text = error.to_string();
            let reason = text.rsplit_once(" at line ").map_or(text.as_str(), |(reason, _)| reason);
            let shown: String = field.chars().filter(|letter| !letter.is_control()).take(LONGEST_NAME).collect();
            return Err(Refusal::invalid(&shown, format!("`{shown}` is not valid for a key: {reason}.")));
        }
    }
    read(fields.clone().into()).map_err(|error| Refusal::unavailable(error.to_string()))
}

/// Random bytes for a secret.
pub fn random_bytes<P: Records>(ports: &P) -> [u8; 24] {
    let mut random = [0_u8; 24];
    let bits = [ports.random().to_le_bytes(), ports.random().to_le_bytes()].concat();
    random.iter_mut().zip(bits).for_each(|(to, from)| *to = from);
    random
}

/// A key for the operator: everything but the hash.
fn key_view(record: &KeyRecord) -> Value {
    json!({
        "id": record.id, "account": record.account, "project": record.project, "label": record.label, "version": record.version,
        "created_at": record.created_at, "revoked_at": record.revoked_at, "policy": record.policy,
    })
}

async fn change_key<P: Records>(
    ports: &P,
    who: &Operator,
    (account, key): (AccountId, &str),
    mut fields: Map<String, Value>,
) -> Result<Reply, Refusal> {
    let label = text(&mut fields, "label")?.map(|text| name("label", text)).transpose()?;
    let by = Some(audit::by(who, text(&mut fields, "author")?, text(&mut fields, "reason")?)?);
    bounds::check_policy(&fields)?;
    let changed = policy(&fields)?;
    if fields.contains_key("budgets") {
        check_buckets(ports, changed.budgets.iter().map(|budget| &budget.bucket)).await?;
    }
    apply_change(ports, account, key, KeyChange { policy: fields, label, revoke: false, by }).await
}

async fn apply_change<P: Records>(ports: &P, account: AccountId, key: &str, change: KeyChange) -> Result<Reply, Refusal> {
    let not_found = || Refusal::new(Code::NotFound, "There is no such key in this account.", "List the account's keys.");
    let key = KeyId::parse(key).ok_or_else(not_found)?;
    let Answer::Key(record) = command(ports, &account, Command::ChangeKey(key, change)).await? else {
        return Err(Refusal::unavailable("a changed key was not answered"));
    };
    // The account has decided; the copy that requests look up follows, and until it does the account still has the last word.
    if let Err(error) = ports.publish_key(&record).await {
        ports.log(&format!("publish key: {}", error.0));
    }
    flush(ports, &account).await;
    ok(&key_view(&record))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewAdjustment {
    bucket: BucketId,
    amount: Money,
    reason: String,
    author: Option<String>,
    note: Option<String>,
}

async fn adjust<P: Records>(
    ports: &P,
    who: &Operator,
    (account, id): (AccountId, Option<String>),
    new: NewAdjustment,
) -> Result<Reply, Refusal> {
    check_buckets(ports, [&new.bucket].into_iter()).await?;
    let id = id.map_or_else(
        || format!("adj-{:032x}", ports.random()),
        |key| format!("adj-key-{}", crate::id::sha256_hex(&[key.as_bytes()])),
    );
    let reason = name("reason", new.reason)?;
    let By { author, on_behalf_of, .. } = audit::by(who, new.author, None)?;
    let note = note(new.note)?;
    let adjustment = Adjustment { id, bucket: new.bucket, amount: new.amount, reason, author, on_behalf_of, note };
    command(ports, &account, Command::Adjust(adjustment.clone())).await?;
    flush(ports, &account).await;
    let catalog = ports.catalog().await.ok();
    let mut view = account_view(ports, &account, catalog.as_deref()).await?;
    if let Some(fields) = view.as_object_mut() {
        let adjustment = json!(adjustment);
        let adjustment = catalog.as_ref().map(|catalog| currency::told(adjustment.clone(), catalog)).unwrap_or(adjustment);
        fields.insert("adjustment".to_owned(), adjustment);
    }
    with_status(201, &view)
}

/// Only balances that the catalogue declares can be credited or limited.
pub async fn check_buckets<P: Records>(ports: &P, buckets: impl Iterator<Item = &BucketId>) -> Result<(), Refusal> {
    let catalog = ports.catalog().await.map_err(unavailable)?;
    for bucket in buckets {
        if !catalog.buckets.contains_key(bucket) {
            let known: Vec<&str> = catalog.buckets.keys().map(BucketId::as_str).collect();
            return Err(Refusal::invalid(
                "bucket",
                format!("There is no bucket `{bucket}`; the catalogue has: {}.", known.join(", ")),
            ));
        }
    }
    Ok(())
}

async fn health<P: Records>(ports: &P) -> Result<Reply, Refusal> {
    let catalog = ports.catalog().await.map_err(unavailable)?;
    let view = ports.health().await;
    let mut data = Vec::new();
    for model in catalog.models.values() {
        for (route, candidate) in
            model.routes.iter().flat_map(|route| route.candidates.iter().map(move |candidate| (route, candidate)))
        {
            let id = crate::routing::health::CandidateId::of(candidate);
            data.push(json!({
                "model": model.id, "route": route.kind, "channel": candidate.channel, "upstream_model": candidate.upstream_model,
                "tier": candidate.tier, "health": view.of(&id),
            }));
        }
    }
    ok(&json!({"data": data, "next": null}))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Signature {
    author: Option<String>,
    reason: Option<String>,
}

/// Runs one probe round and publishes what it found. The cron does the same.
async fn probe_now<P: Records>(ports: &P, who: &Operator, asked: Signature) -> Result<Reply, Refusal> {
    let by = audit::by(who, asked.author, asked.reason)?;
    match probe::round(ports).await.map_err(unavailable)? {
        Some(probes) => {
            audit::note(ports, ActKind::Probe, by, format!("probe round run, {} probes made", probes.len())).await;
            ok(&json!({"data": probes, "next": null}))
        }
        None => {
            let message = "A probe round is running now.";
            Err(Refusal::new(Code::Conflict, message, "Ask again in half a minute; it ends by itself.").retry_after(30))
        }
    }
}
