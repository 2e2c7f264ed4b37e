//! Export: rows of an account's journal as CSV or JSONL, for spreadsheets and for accounting.
//!
//! What always holds: every row has a cell for every column; both formats say the same; money and prices are exact decimals;
//! a row is written whatever its document looks like, and what cannot be read is an empty cell.
//!
//! Deliberately absent: IO. The caller reads pages and streams what [`rows`] makes of each, so that memory stays constant.

use std::borrow::Cow;
use std::fmt;

use csv_core::{Terminator, Writer, WriterBuilder};
use serde_json::{Map, Value};

use crate::money::Money;
use crate::time::Timestamp;

/// How many columns there are.
const WIDTH: usize = 61;
/// How many of them customers get: the last are the operator's own.
const CUSTOMERS: usize = 58;
/// The classes whose sum is the size of a request.
const INPUT: [&str; 6] = ["input", "cached_input", "cache_write", "cache_write_1h", "audio_input", "image_input"];
/// A text that begins with one of these is run as a formula by some spreadsheet; the last ones are full-width and small forms.
const FORMULA: [char; 14] = ['=', '+', '-', '@', '＝', '＋', '－', '＠', '﹦', '﹢', '﹣', '﹫', '−', '⁼'];
/// Without this spreadsheets take UTF-8 for something else.
const MARK: &str = "\u{feff}";

/// How an export is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// RFC 4180, with a header line.
    Csv,
    /// One JSON object per line.
    Jsonl,
}

/// Whose export it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Columns {
    /// Those for customers.
    Customer,
    /// All.
    Operator,
}

impl Columns {
    const fn count(self) -> usize {
        match self {
            Self::Customer => CUSTOMERS,
            Self::Operator => WIDTH,
        }
    }
}

/// There is no such format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnknownFormat;

impl fmt::Display for UnknownFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("must be `json`, `csv` or `jsonl`")
    }
}

impl Format {
    /// What a request asks for; none is the plain JSON page. `?format=` wins over the `Accept` header, and of that the first
    /// known type does; of its `q` values only zero counts.
    pub fn choose(format: Option<&str>, accept: Option<&str>) -> Result<Option<Self>, UnknownFormat> {
        match format {
            Some("json") => Ok(None),
            Some("csv") => Ok(Some(Self::Csv)),
            Some("jsonl") => Ok(Some(Self::Jsonl)),
            Some(_) => Err(UnknownFormat),
            None => Ok(accept.and_then(|ranges| ranges.split(',').find_map(accepted)).flatten()),
        }
    }

    /// For the header `content-type`.
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Csv => "text/csv; charset=utf-8; header=present",
            Self::Jsonl => "application/jsonl; charset=utf-8",
        }
    }

    /// How the name of a file ends.
    pub const fn extension(self) -> &'static str {
        match self {
            Self::Csv => "csv",
            Self::Jsonl => "jsonl",
        }
    }
}

/// What one range of an `Accept` header asks for; the outer none is a type that is not known here, or not wanted there.
fn accepted(range: &str) -> Option<Option<Format>> {
    let mut parts = range.split(';').map(str::trim);
    let name = parts.next().unwrap_or_default().to_ascii_lowercase();
    let is_zero = |weight: &str| weight.bytes().all(|byte| matches!(byte, b'0' | b'.'));
    if parts.any(|part| part.strip_prefix("q=").is_some_and(is_zero)) {
        return None;
    }
    match name.as_str() {
        "application/json" | "application/*" | "*/*" => Some(None),
        "text/csv" => Some(Some(Format::Csv)),
        "application/jsonl" | "application/x-ndjson" | "application/x-jsonlines" => Some(Some(Format::Jsonl)),
        _ => None,
    }
}

/// What stands before the first row: in CSV a byte order mark and the names of the columns, nothing in JSONL.
pub fn head(format: Format, columns: Columns) -> Vec<u8> {
    let mut out = Vec::new();
    if format == Format::Csv {
        out.extend_from_slice(MARK.as_bytes());
        let names = cells(&Value::Null).into_iter().map(|(name, _)| Cow::Borrowed(name));
        record(&mut writer(), &mut out, names.take(columns.count()));
    }
    out
}

/// Some rows of the journal, each an object with `seq`, `at` in milliseconds, `kind`, `bucket`, `amount` in nano-units,
/// `balances`, `doc`, `account` and `currency`; as UTF-8.
pub fn rows(format: Format, columns: Columns, rows: &[Value]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut writer = writer();
    for row in rows {
        let cells = cells(row).into_iter().take(columns.count());
        match format {
            Format::Csv => record(&mut writer, &mut out, cells.map(|(_, cell)| cell.csv())),
            Format::Jsonl => {
                let object: Map<String, Value> = cells.map(|(name, cell)| (name.to_owned(), cell.json())).collect();
                out.extend_from_slice(Value::Object(object).to_string().as_bytes());
                out.push(b'\n');
            }
        }
    }
    out
}

/// One cell.
enum Cell<'a> {
    Empty,
    /// What people, clients or upstreams wrote.
    Text(&'a str),
    /// The same, put together here.
    Written(String),
    /// A decimal, a time or an id, made here.
    Made(String),
    Count(u64),
}

impl<'a> Cell<'a> {
    fn csv(self) -> Cow<'a, str> {
        match self {
            Self::Empty => Cow::Borrowed(""),
            Self::Text(text) if is_formula(text) => Cow::Owned(format!("'{text}")),
            Self::Text(text) => Cow::Borrowed(text),
            Self::Written(text) if is_formula(&text) => Cow::Owned(format!("'{text}")),
            Self::Written(text) => Cow::Owned(text),
            Self::Made(text) => Cow::Owned(text),
            Self::Count(count) => Cow::Owned(count.to_string()),
        }
    }

    fn json(self) -> Value {
        match self {
            Self::Empty => Value::Null,
            Self::Text(text) => text.into(),
            Self::Written(text) | Self::Made(text) => text.into(),
            Self::Count(count) => count.into(),
        }
    }
}

/// Whether a spreadsheet may run a text: at its beginning, or behind what spreadsheets strip or do not show. Cells that begin with
/// such a letter are defused too, but for plain blanks.
fn is_formula(text: &str) -> bool {
    let is_unseen = |letter: char| {
        letter.is_whitespace()
            || letter.is_control()
            || matches!(letter, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
    };
    let begins = text.trim_start_matches(is_unseen);
    begins.starts_with(FORMULA) || text.starts_with(|first: char| is_unseen(first) && first != ' ')
}

/// Every column with the row's cell, in order.
fn cells(row: &Value) -> [(&'static str, Cell<'_>); WIDTH] {
    let doc = row.get("doc").unwrap_or(&Value::Null);
    let kind = row.get("kind").and_then(Value::as_str).unwrap_or_default();
    let is_receipt = kind == "receipt";
    // Only the documents of these kinds tell of a request; the fields of others may have equal names and other meanings.
    let request = if is_receipt || kind == "correction" { doc } else { &Value::Null };
    let amount = row.get("amount").and_then(Value::as_i64).and_then(|nanos| Money::from_nanos(nanos).ok());
    let is_entry = row.get("amount").is_some_and(|amount| !amount.is_null());
    let channel = request.get("channel").and_then(Value::as_str);
    let primary = request.pointer("/attempts/0/channel").and_then(Value::as_str).or(channel);
    let charge =
        if is_receipt { money(request.get("charge")) } else { amount.filter(|_| kind == "correction").map(Money::negated) };
    let balance = row.get("bucket").and_then(Value::as_str).and_then(|bucket| row.get("balances")?.get(bucket));
    let retries = request.get("retries").and_then(Value::as_u64).or(is_receipt.then_some(0));
    let written = |field: &str| text(request.get(field).and_then(Value::as_str));
    let used = |class: &str| request.get("usage").and_then(|usage| usage.get(class)?.as_u64());
    let tokens = |class: &str| count(used(class));
    let tier = request.get("price").and_then(|price| tier(price, INPUT.iter().filter_map(|class| used(class))));
    let price = |class: &str| {
        let base = || request.get("price").and_then(|price| price.get(class));
        made(money(tier.and_then(|tier| tier.get(class)).or_else(base)))
    };
    let dropped = request.get("dropped_parameters").and_then(Value::as_array).filter(|names| !names.is_empty());
    let dropped = dropped.map(|names| names.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" "));
    // Who did what stands in the row itself, or beside the record that the row is about.
    let done =
        |name: &str| doc.get(name).or_else(|| doc.get("change")?.get(name)).and_then(Value::as_str).filter(|_| !is_receipt);
    // The credential of the attempt that answered.
    let attempts = request.get("attempts").and_then(Value::as_array);
    let answered = attempts.and_then(|all| all.iter().rfind(|attempt| attempt.get("status").is_some_and(|it| it == "answered")));
    [
        ("request_id", written("id")),
        ("time", made(row.get("at").and_then(Value::as_i64).map(Timestamp::from_millis))),
        ("account", text(row.get("account").and_then(Value::as_str))),
        ("project", written("project")),
        ("key_label", written("key_label")),
        ("public_model", written("model")),
        ("api_model", written("requested_model")),
        ("upstream_model", written("upstream_model")),
        ("route", written("route")),
        ("primary_channel", text(primary)),
        ("backup_channel", text(channel.filter(|channel| primary != Some(*channel)))),
        ("retries", count(retries)),
        ("fallbacks", count(request.get("fallbacks").and_then(Value::as_u64))),
        ("tokens_input", tokens("input")),
        ("tokens_cached_input", tokens("cached_input")),
        ("tokens_cache_write", tokens("cache_write")),
        ("tokens_audio_input", tokens("audio_input")),
        ("tokens_output", tokens("output")),
        ("tokens_reasoning", tokens("reasoning")),
        ("tokens_audio_output", tokens("audio_output")),
        ("usage_source", written("usage_source")),
        ("price_input", price("input")),
        ("price_cached_input", price("cached_input")),
        ("price_cache_write", price("cache_write")),
        ("price_output", price("output")),
        ("price_reasoning", price("reasoning")),
        ("price_audio_input", price("audio_input")),
        ("price_audio_output", price("audio_output")),
        ("charge", made(charge)),
        ("amount", made(amount)),
        ("bucket", text(row.get("bucket").and_then(Value::as_str))),
        ("charge_policy", written("charge_policy")),
        ("entry_id", made(row.get("seq").and_then(Value::as_u64).filter(|_| is_entry).map(|seq| format!("entry-{seq}")))),
        ("kind", text(Some(if is_receipt && is_entry { "charge" } else { kind }))),
        ("adjustment_reason", text(done("reason"))),
        ("balance_after", made(money(balance))),
        ("run", written("run")),
        ("status", written("status")),
        ("error_code", text(request.pointer("/error/code").and_then(Value::as_str))),
        ("no_charge_reason", written("no_charge_reason")),
        ("tokens_cache_write_1h", tokens("cache_write_1h")),
        ("tokens_image_input", tokens("image_input")),
        ("tokens_image_output", tokens("image_output")),
        ("images", tokens("images")),
        ("seconds", tokens("seconds")),
        ("characters", tokens("characters")),
        ("searches", tokens("searches")),
        ("price_cache_write_1h", price("cache_write_1h")),
        ("price_image_input", price("image_input")),
        ("price_image_output", price("image_output")),
        ("price_images", price("images")),
        ("price_seconds", price("seconds")),
        ("price_characters", price("characters")),
        ("price_searches", price("searches")),
        ("credential", text(answered.and_then(|attempt| attempt.get("credential")?.as_str()))),
        ("dropped_parameters", dropped.filter(|names| !names.is_empty()).map_or(Cell::Empty, Cell::Written)),
        ("note", text(doc.get("note").and_then(Value::as_str).filter(|_| !is_receipt))),
        ("currency", text(row.get("currency").and_then(Value::as_str))),
        ("author", text(done("author"))),
        ("what", text(done("what"))),
        ("on_behalf_of", text(done("on_behalf_of"))),
    ]
}

/// The tier of a price that a request with this input had, if it had one.
fn tier(price: &Value, input: impl Iterator<Item = u64>) -> Option<&Value> {
    let size = input.fold(0_u64, u64::saturating_add);
    let above = |tier: &Value| tier.get("above").and_then(Value::as_u64);
    let applies = price.get("tiers")?.as_array()?.iter().filter(|tier| above(tier).is_some_and(|above| size > above));
    applies.max_by_key(|tier| above(tier))
}

fn text(text: Option<&str>) -> Cell<'_> {
    text.filter(|text| !text.is_empty()).map_or(Cell::Empty, Cell::Text)
}

fn made<'a>(value: Option<impl fmt::Display>) -> Cell<'a> {
    value.map_or(Cell::Empty, |value| Cell::Made(value.to_string()))
}

fn count<'a>(count: Option<u64>) -> Cell<'a> {
    count.map_or(Cell::Empty, Cell::Count)
}

/// Read, not copied: a cell that is not defused as text cannot be anything but a decimal.
fn money(value: Option<&Value>) -> Option<Money> {
    Money::parse(value?.as_str()?).ok()
}

fn writer() -> Writer {
    WriterBuilder::new().terminator(Terminator::CRLF).build()
}

/// Writes one line of CSV.
fn record<'a>(writer: &mut Writer, out: &mut Vec<u8>, cells: impl Iterator<Item = Cow<'a, str>>) {
    for (index, cell) in cells.enumerate() {
        if index > 0 {
            put(out, 2, |room| writer.delimiter(room).1);
        }
        put(out, cell.len().saturating_mul(2).saturating_add(2), |room| writer.field(cell.as_bytes(), room).2);
    }
    put(out, 3, |room| writer.terminator(room).1);
}

/// Appends what `write` writes into a room of `most` bytes, which is the most that it can need: quotes around, quotes doubled.
fn put(out: &mut Vec<u8>, most: usize, write: impl FnOnce(&mut [u8]) -> usize) {
    let start = out.len();
    out.resize(start.saturating_add(most), 0);
    let written = out.get_mut(start..).map_or(0, write);
    out.truncate(start.saturating_add(written));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::account::Receipt;
    use proptest::prelude::*;
    use serde_json::json;

    const HEADER: &str = "request_id,time,account,project,key_label,public_model,api_model,upstream_model,route,primary_channel,\
                          backup_channel,retries,fallbacks,tokens_input,tokens_cached_input,tokens_cache_write,\
                          tokens_audio_input,tokens_output,tokens_reasoning,tokens_audio_output,usage_source,price_input,\
                          price_cached_input,price_cache_write,price_output,price_reasoning,price_audio_input,\
                          price_audio_output,charge,amount,bucket,charge_policy,entry_id,kind,adjustment_reason,balance_after,\
                          run,status,error_code,no_charge_reason,tokens_cache_write_1h,tokens_image_input,tokens_image_output,\
                          images,seconds,characters,searches,price_cache_write_1h,price_image_input,price_image_output,\
                          price_images,price_seconds,price_characters,price_searches,credential,dropped_parameters,\
                          note,currency,author,what,on_behalf_of\r\n";
    /// Of a row that has nothing of what came last.
    const REST: &str = ",,,,,,,,,,,,,,,,,,,,,\r\n";

    fn csv(row: &Value) -> String {
        String::from_utf8(rows(Format::Csv, Columns::Operator, std::slice::from_ref(row))).unwrap()
    }

    fn jsonl(row: &Value) -> String {
        String::from_utf8(rows(Format::Jsonl, Columns::Operator, std::slice::from_ref(row))).unwrap()
    }

    /// A charge that a backup answered.
    fn charge() -> Value {
        let attempt = |channel: &str, status: &str| {
            json!({"channel": channel, "tier": 0, "route": "routed", "bucket": "credit", "upstream_model": "gpt-5.5-mini",
                "reason": "primary", "dispatched": true, "status": status, "started_at": "2026-11-22T16:33:44Z",
                "latency_ms": 7, "provider_status": 200, "error": null, "message": null})
        };
        let doc = json!({
            "id": "req_1", "status": "completed", "created_at": "2026-11-22T16:33:44Z", "closed_at": "2026-11-22T16:33:45Z",
            "account": "acct_1", "project": "proj_1", "key": "key_1", "key_label": "night, \"batch\"", "run": "run-7",
            "endpoint": "/v1/chat/completions", "stream": false, "requested_model": "mini", "model": "gpt-mini",
            "upstream_model": "gpt-5.5-mini", "route": "routed", "channel": "beta", "bucket": "credit", "why": "Cheapest.",
            "attempts": [attempt("alpha", "failed"), attempt("beta", "answered")], "retries": 2, "fallbacks": 1,
            "usage": {"input": 10, "cached_input": 20, "cache_write": 0, "audio_input": 0, "output": 3, "reasoning": 4,
                "audio_output": 0},
            "usage_source": "upstream", "price": {"input": "1.25", "cached_input": "0.125", "output": "10"},
            "catalog_version": 1, "hold": "0.01", "charge": "0.00004", "charge_policy": "usage", "in_review": null,
            "entry_ids": ["entry-12"], "balance_before": "10", "balance_after": "9.99996", "no_charge_reason": null,
            "error": null, "next_step": null, "finish_reason": "stop", "first_byte_ms": 7, "latency_ms": 9,
        });
        json!({"seq": 12, "at": 1_795_365_225_618_i64, "kind": "receipt", "bucket": "credit", "amount": -40_000,
            "balances": {"credit": "9.99996", "wallet": "3"}, "doc": doc, "account": "acct_1"})
    }

    fn correction() -> Value {
        let doc = json!({"id": "req_1", "key": "key_1", "key_label": "night", "project": "proj_1", "model": "gpt-mini",
            "upstream_model": "gpt-5.5-mini", "route": "official", "channel": "beta", "run": null, "status": "completed",
            "usage": {"input": 1, "output": 2}, "usage_source": "upstream", "charge_policy": "usage",
            "reason": "Reported late."});
        json!({"seq": 13, "at": 0, "kind": "correction", "bucket": "credit", "amount": -1_500_000_000,
            "balances": {"credit": "8.49996"}, "doc": doc, "account": "acct_1"})
    }

    fn entry(kind: &str, amount: i64) -> Value {
        let doc = json!({"id": "pay_1", "reason": "As agreed", "author": "ops", "order": "ord_1", "status": "paid",
            "channel": "bank"});
        json!({"seq": 3, "at": 1000, "kind": kind, "bucket": "wallet", "amount": amount, "balances": {"wallet": "-2.5"},
            "doc": doc, "account": "acct_1"})
    }

    #[test]
    fn the_header_names_every_column_once() {
        assert_eq!(String::from_utf8(head(Format::Csv, Columns::Operator)).unwrap(), format!("{MARK}{HEADER}"));
        assert!(head(Format::Jsonl, Columns::Operator).is_empty());
        // Customers get all but who did what.
        let customers = String::from_utf8(head(Format::Csv, Columns::Customer)).unwrap();
        assert_eq!(
            customers.trim_end().trim_start_matches(MARK),
            HEADER.trim_end().strip_suffix(",author,what,on_behalf_of").unwrap()
        );
        let names: std::collections::BTreeSet<&str> = HEADER.trim_end().split(',').collect();
        assert_eq!(names.len(), WIDTH);
    }

    #[test]
    fn a_charge_is_one_line() {
        serde_json::from_value::<Receipt>(charge()["doc"].clone()).unwrap();
        assert_eq!(
            csv(&charge()),
            "req_1,2026-11-22T16:33:45.618Z,acct_1,proj_1,\"night, \"\"batch\"\"\",gpt-mini,mini,gpt-5.5-mini,routed,alpha,beta,\
             2,1,10,20,0,0,3,4,0,upstream,1.25,0.125,,10,,,,0.00004,-0.00004,credit,usage,entry-12,charge,,9.99996,run-7,\
             completed,,"
                .to_owned()
                + REST
        );
        assert_eq!(
            jsonl(&charge()),
            r#"{"request_id":"req_1","time":"2026-11-22T16:33:45.618Z","account":"acct_1","project":"proj_1","#.to_owned()
                + r#""key_label":"night, \"batch\"","public_model":"gpt-mini","api_model":"mini","upstream_model":"gpt-5.5-mini","#
                + r#""route":"routed","primary_channel":"alpha","backup_channel":"beta","retries":2,"fallbacks":1,"#
                + r#""tokens_input":10,"tokens_cached_input":20,"tokens_cache_write":0,"tokens_audio_input":0,"#
                + r#""tokens_output":3,"tokens_reasoning":4,"tokens_audio_output":0,"usage_source":"upstream","#
                + r#""price_input":"1.25","price_cached_input":"0.125","price_cache_write":null,"price_output":"10","#
                + r#""price_reasoning":null,"price_audio_input":null,"price_audio_output":null,"charge":"0.00004","#
                + r#""amount":"-0.00004","bucket":"credit","charge_policy":"usage","entry_id":"entry-12","kind":"charge","#
                + r#""adjustment_reason":null,"balance_after":"9.99996","run":"run-7","status":"completed","error_code":null,"#
                + r#""no_charge_reason":null,"tokens_cache_write_1h":null,"tokens_image_input":null,"#
                + r#""tokens_image_output":null,"images":null,"seconds":null,"characters":null,"searches":null,"#
                + r#""price_cache_write_1h":null,"price_image_input":null,"price_image_output":null,"price_images":null,"#
                + r#""price_seconds":null,"price_characters":null,"price_searches":null,"credential":null,"#
                + r#""dropped_parameters":null,"note":null,"currency":null,"author":null,"what":null,"on_behalf_of":null}"#
                + "\n"
        );
        let mut row = charge();
        row["currency"] = json!("CNY");
        assert!(csv(&row).ends_with(",CNY,,,\r\n") && jsonl(&row).contains("\"currency\":\"CNY\","));
    }

    #[test]
    fn what_came_later_has_columns_of_its_own_and_prices_are_those_that_applied() {
        let mut row = charge();
        row["doc"]["usage"] = json!({"input": 100, "cached_input": 100, "cache_write_1h": 1, "output": 3, "searches": 2});
        row["doc"]["price"] = json!({"input": "1.25", "cache_write_1h": "2", "output": "10", "searches": "0.01",
            "tiers": [{"above": 100, "input": "2"}, {"above": 200, "input": "2.5", "output": "15"}, {"above": 201, "input": "9"}]});
        row["doc"]["attempts"][1]["credential"] = "KEY_B".into();
        row["doc"]["dropped_parameters"] = json!(["logit_bias", "seed"]);
        serde_json::from_value::<Receipt>(row["doc"].clone()).unwrap();
        let line: Value = serde_json::from_str(&jsonl(&row)).unwrap();
        for (name, expected) in [
            ("tokens_cache_write_1h", json!(1)),
            ("searches", json!(2)),
            ("images", Value::Null),
            ("price_input", json!("2.5")),
            ("price_output", json!("15")),
            ("price_cache_write_1h", json!("2")),
            ("price_searches", json!("0.01")),
            ("credential", json!("KEY_B")),
            ("dropped_parameters", json!("logit_bias seed")),
        ] {
            assert_eq!(line[name], expected, "{name}");
        }
    }

    #[test]
    fn a_receipt_without_an_amount_has_no_entry() {
        let mut row = charge();
        (row["bucket"], row["amount"]) = (Value::Null, Value::Null);
        let doc = row["doc"].as_object_mut().unwrap();
        doc.remove("retries");
        for field in ["model", "upstream_model", "route", "channel", "bucket", "price", "hold", "run"] {
            doc.insert(field.to_owned(), Value::Null);
        }
        for (field, value) in [("status", "failed"), ("charge", "0"), ("charge_policy", ""), ("no_charge_reason", "Nobody.")] {
            doc.insert(field.to_owned(), value.into());
        }
        doc.insert("error".to_owned(), json!({"code": "upstream_error", "message": "No."}));
        serde_json::from_value::<Receipt>(row["doc"].clone()).unwrap();
        assert_eq!(
            csv(&row),
            "req_1,2026-11-22T16:33:45.618Z,acct_1,proj_1,\"night, \"\"batch\"\"\",,mini,,,alpha,,0,1,10,20,0,0,3,4,0,upstream,\
             ,,,,,,,0,,,,,receipt,,,,failed,upstream_error,Nobody."
                .to_owned()
                + REST
        );
    }

    #[test]
    fn a_request_that_its_primary_answered_has_no_backup() {
        let mut row = charge();
        row["doc"]["channel"] = "alpha".into();
        let line: Value = serde_json::from_str(&jsonl(&row)).unwrap();
        assert_eq!((line["primary_channel"].as_str(), &line["backup_channel"]), (Some("alpha"), &Value::Null));
    }

    #[test]
    fn a_correction_names_its_request_and_what_it_charged() {
        assert_eq!(
            csv(&correction()),
            "req_1,1970-01-01T00:00:00Z,acct_1,proj_1,night,gpt-mini,,gpt-5.5-mini,official,beta,,,,1,,,,2,,,upstream,,,,,,,,1.5,\
             -1.5,credit,usage,entry-13,correction,Reported late.,8.49996,,completed,,"
                .to_owned() + REST
        );
    }

    #[test]
    fn other_entries_tell_of_no_request() {
        for (kind, nanos, amount) in [
            ("adjustment", -1, "-0.000000001"),
            ("top_up", 5_000_000_000, "5"),
            ("refund", -5_000_000_000, "-5"),
            ("redemption", 20_000_000, "0.02"),
            ("debt_payment", -100_000_000, "-0.1"),
        ] {
            let empty = ",".repeat(26);
            let rest = ",".repeat(23);
            let line =
                format!(",1970-01-01T00:00:01Z,acct_1{empty},{amount},wallet,,entry-3,{kind},As agreed,-2.5{rest}ops,,\r\n");
            assert_eq!(csv(&entry(kind, nanos)), line);
        }
    }

    #[test]
    fn text_that_a_spreadsheet_would_run_is_defused() {
        let mut row = charge();
        for begin in ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "＝1"] {
            row["doc"]["key_label"] = begin.into();
            row["doc"]["charge"] = begin.into();
            let text = [HEADER.to_owned(), csv(&row)].concat();
            let line = csv::Reader::from_reader(text.as_bytes()).records().next().unwrap().unwrap();
            assert_eq!(&line[4], format!("'{begin}"));
            // What stands where money should is read as such or not at all.
            assert_eq!(&line[28], if begin == "-1" { "-1" } else { "" });
            let line: Value = serde_json::from_str(&jsonl(&row)).unwrap();
            assert_eq!(line["key_label"].as_str(), Some(begin));
        }
    }

    #[test]
    fn the_format_is_chosen_by_parameter_then_by_accept() {
        use Format::{Csv, Jsonl};
        for (format, accept, chosen) in [
            (None, None, Ok(None)),
            (Some("csv"), Some("application/jsonl"), Ok(Some(Csv))),
            (Some("jsonl"), None, Ok(Some(Jsonl))),
            (Some("json"), Some("text/csv"), Ok(None)),
            (Some("xlsx"), Some("text/csv"), Err(UnknownFormat)),
            (Some(""), None, Err(UnknownFormat)),
            (None, Some("Text/CSV; charset=utf-8"), Ok(Some(Csv))),
            (None, Some("application/x-ndjson"), Ok(Some(Jsonl))),
            (None, Some("application/x-jsonlines"), Ok(Some(Jsonl))),
            (None, Some("text/html, application/jsonl;q=0.5, text/csv"), Ok(Some(Jsonl))),
            (None, Some("text/csv;q=0, application/jsonl"), Ok(Some(Jsonl))),
            (None, Some("application/json, text/csv"), Ok(None)),
            (None, Some("text/html, */*;q=0.8, text/csv"), Ok(None)),
            (None, Some("image/png,,;"), Ok(None)),
        ] {
            assert_eq!(Format::choose(format, accept), chosen, "{format:?} {accept:?}");
        }
        assert_eq!((Csv.extension(), Jsonl.extension()), ("csv", "jsonl"));
    }

    /// Text made of what breaks careless writers.
    fn awkward() -> impl Strategy<Value = String> {
        let characters = prop_oneof![
            proptest::sample::select(vec!['"', ',', '\n', '\r', '\0', '=', '-', '\'', ' ', '\u{feff}', 'é', '\u{1f600}']),
            any::<char>(),
        ];
        proptest::collection::vec(characters, 0..8).prop_map(|characters| characters.into_iter().collect())
    }

    /// Any JSON whose objects have the names that are looked for.
    fn garbage() -> impl Strategy<Value = Value> {
        let names = [
            "seq",
            "at",
            "kind",
            "bucket",
            "amount",
            "balances",
            "doc",
            "account",
            "id",
            "usage",
            "input",
            "price",
            "attempts",
            "channel",
            "charge",
            "error",
            "code",
            "reason",
            "credit",
            "retries",
            "tiers",
            "above",
            "dropped_parameters",
        ];
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            awkward().prop_map(Value::from),
            proptest::sample::select(vec!["receipt", "correction", "credit", "1.5", "-9007199254740992"]).prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 64, 12, move |inner| {
            let name = proptest::sample::select(names.to_vec());
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
                proptest::collection::vec((name, inner), 0..12)
                    .prop_map(|fields| fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()),
            ]
        })
    }

    #[test]
    fn no_cell_is_run_as_a_formula() {
        let unseen = [
            "",
            " ",
            "   ",
            "\t",
            "\r",
            "\n",
            "\r\n ",
            "\u{feff}",
            " \u{feff} ",
            "\u{a0}",
            "\u{3000}",
            "\u{200b}",
            "\u{0}",
            "\u{202e}",
        ];
        for before in unseen {
            for begin in FORMULA {
                let mut row = entry("adjustment", 1);
                row["doc"]["reason"] = format!("{before}{begin}HYPERLINK(\"x\")").into();
                let (csv, expected) = (csv(&row), format!("'{before}{begin}HYPERLINK").replace('"', "\"\""));
                assert!(csv.contains(&expected), "{before:?} {begin}: {csv}");
            }
        }
        for plain in ["a=b", " a", "客户甲", "'=1", "1-2", "\"=1"] {
            assert!(!is_formula(plain), "{plain}");
        }
    }

    /// Whether both formats say the same of these rows, cell by cell.
    fn agree(all: &[Value]) -> Result<(), TestCaseError> {
        let text = [head(Format::Csv, Columns::Operator), rows(Format::Csv, Columns::Operator, all)].concat();
        let mut reader = csv::Reader::from_reader(text.as_slice());
        let names: Vec<String> = reader.headers().unwrap().iter().map(ToOwned::to_owned).collect();
        let records: Vec<csv::StringRecord> = reader.records().map(Result::unwrap).collect();
        let objects = String::from_utf8(rows(Format::Jsonl, Columns::Operator, all)).unwrap();
        let objects: Vec<Map<String, Value>> =
            objects.split_terminator('\n').map(|line| serde_json::from_str(line).unwrap()).collect();
        prop_assert_eq!((records.len(), objects.len()), (all.len(), all.len()));
        for (record, object) in records.iter().zip(&objects) {
            prop_assert_eq!(record.len(), WIDTH);
            prop_assert_eq!(object.keys().collect::<Vec<_>>(), names.iter().collect::<Vec<_>>());
            for ((name, value), cell) in object.iter().zip(record) {
                let is_made = name.starts_with("price_")
                    || ["time", "charge", "amount", "entry_id", "balance_after"].contains(&name.as_str());
                let expected = match value {
                    Value::Null => String::new(),
                    Value::String(text) if !is_made && is_formula(text) => format!("'{text}"),
                    Value::String(text) => text.clone(),
                    number => number.to_string(),
                };
                prop_assert_eq!(cell, expected, "{}", name);
            }
        }
        Ok(())
    }

    proptest! {
        #[test]
        fn csv_and_jsonl_say_the_same(texts in proptest::array::uniform8(awkward()), amount in any::<i64>(), tokens in any::<u64>()) {
            let [label, model, requested, reason, run, code, bucket, channel] = texts;
            let mut row = charge();
            row["amount"] = amount.into();
            row["bucket"] = bucket.into();
            let fields = row["doc"].as_object_mut().unwrap();
            fields.insert("usage".to_owned(), json!({"input": tokens}));
            fields.insert("error".to_owned(), json!({"code": code}));
            for (name, text) in [("key_label", label), ("model", model), ("requested_model", requested), ("run", run),
                ("channel", channel)] {
                fields.insert(name.to_owned(), text.into());
            }
            let mut other = entry("adjustment", amount);
            other["doc"]["reason"] = reason.into();
            agree(&[row, correction(), other])?;
        }

        #[test]
        fn any_garbage_is_a_whole_row(any in garbage(), fields in proptest::array::uniform5(garbage()), kind in 0..3usize) {
            let [at, bucket, amount, balances, doc] = fields;
            let kind = ["receipt", "correction", "adjustment"][kind];
            let row = json!({"seq": any, "at": at, "kind": kind, "bucket": bucket, "amount": amount, "balances": balances, "doc": doc});
            agree(&[any, row])?;
        }
    }
}
