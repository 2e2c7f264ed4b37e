//! Usage as Anthropic tells it, and as it is told.

use serde::Deserialize;
use serde_json::json;

use crate::dialect::format::Cost;
use crate::dialect::json::Object;
use crate::usage::Usage;

/// A `usage` object. Input is fresh input alone; output has the thoughts in it. In a stream it comes in parts, each number the
/// whole so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub struct Report {
    input_tokens: Option<u64>,
    cache_creation_input_tokens: Option<u64>,
    cache_creation: Option<CacheCreation>,
    cache_read_input_tokens: Option<u64>,
    output_tokens: Option<u64>,
    output_tokens_details: Option<OutputDetails>,
    server_tool_use: Option<ServerToolUse>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
struct CacheCreation {
    ephemeral_5m_input_tokens: Option<u64>,
    ephemeral_1h_input_tokens: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
struct OutputDetails {
    thinking_tokens: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
struct ServerToolUse {
    web_search_requests: Option<u64>,
}

impl Report {
    /// Reads a `usage` object; none if it is not one, or counts no tokens.
    pub fn read(json: &str) -> Option<Self> {
        // A list would be read as the fields in their order.
        let report: Self = json.starts_with('{').then(|| serde_json::from_str(json).ok()).flatten()?;
        (report.input_tokens.is_some() || report.output_tokens.is_some()).then_some(report)
    }

    /// Takes a later report: of each number the last counts, and nothing is summed.
    pub fn merge(&mut self, later: &Self) {
        *self = Self {
            input_tokens: later.input_tokens.or(self.input_tokens),
            cache_creation_input_tokens: later.cache_creation_input_tokens.or(self.cache_creation_input_tokens),
            cache_creation: later.cache_creation.or(self.cache_creation),
            cache_read_input_tokens: later.cache_read_input_tokens.or(self.cache_read_input_tokens),
            output_tokens: later.output_tokens.or(self.output_tokens),
            output_tokens_details: later.output_tokens_details.or(self.output_tokens_details),
            server_tool_use: later.server_tool_use.or(self.server_tool_use),
        };
    }

    /// In disjoint classes. Parts that are more than their whole are cut to it; writes without a breakdown are those of 5
    /// minutes, which is the default.
    pub fn usage(&self) -> Usage {
        let creation = self.cache_creation.unwrap_or_default();
        let (short, long) = (creation.ephemeral_5m_input_tokens.unwrap_or(0), creation.ephemeral_1h_input_tokens.unwrap_or(0));
        let written = self.cache_creation_input_tokens.unwrap_or_else(|| short.saturating_add(long));
        let cache_write_1h = long.min(written);
        let output = self.output_tokens.unwrap_or(0);
        let thinking = self.output_tokens_details.and_then(|details| details.thinking_tokens);
        let reasoning = thinking.unwrap_or(0).min(output);
        Usage {
            input: self.input_tokens.unwrap_or(0),
            cached_input: self.cache_read_input_tokens.unwrap_or(0),
            cache_write: written.saturating_sub(cache_write_1h),
            cache_write_1h,
            output: output.saturating_sub(reasoning),
            reasoning,
            searches: self.server_tool_use.and_then(|tools| tools.web_search_requests).unwrap_or(0),
            ..Usage::default()
        }
    }
}

/// Reads a `usage` object into disjoint classes; none if it is not one.
pub fn read_usage(json: &str) -> Option<Usage> {
    Report::read(json).map(|report| report.usage())
}

/// A `usage` object of ours. What Anthropic has no word for counts as input or output.
pub fn write_usage(usage: &Usage) -> String {
    let input = usage.input.saturating_add(usage.audio_input).saturating_add(usage.image_input);
    let searches = (usage.searches > 0).then(|| json!({"web_search_requests": usage.searches}));
    json!({
        "input_tokens": input,
        "cache_creation_input_tokens": usage.cache_write.saturating_add(usage.cache_write_1h),
        "cache_read_input_tokens": usage.cached_input,
        "cache_creation": {
            "ephemeral_5m_input_tokens": usage.cache_write,
            "ephemeral_1h_input_tokens": usage.cache_write_1h,
        },
        "output_tokens": usage.output_side(),
        "output_tokens_details": {"thinking_tokens": usage.reasoning},
        "server_tool_use": searches,
        "service_tier": null,
    })
    .to_string()
}

/// The `usage` object with the cost; upstream's own where there is one.
pub fn usage_with_cost(upstream: Option<&str>, usage: &Usage, cost: &Cost) -> String {
    let edits = cost.edits();
    let edited = upstream.and_then(Object::parse).map(|object| object.edited(&edits));
    edited.unwrap_or_else(|| {
        let own = write_usage(usage);
        Object::parse(&own).map(|object| object.edited(&edits)).unwrap_or(own)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Usage {
        read_usage(json).unwrap()
    }

    #[test]
    fn every_class_is_read_and_none_twice() {
        // 2,095 fresh, 512 read, 1,300 written of which 300 for an hour, 503 out of which 200 thought, 3 searches.
        let json = r#"{"input_tokens":2095,"cache_creation_input_tokens":1300,"cache_read_input_tokens":512,
            "cache_creation":{"ephemeral_5m_input_tokens":1000,"ephemeral_1h_input_tokens":300},
            "output_tokens":503,"output_tokens_details":{"thinking_tokens":200},
            "server_tool_use":{"web_search_requests":3,"web_fetch_requests":1},"service_tier":"standard"}"#;
        let expected = Usage {
            input: 2_095,
            cached_input: 512,
            cache_write: 1_000,
            cache_write_1h: 300,
            output: 303,
            reasoning: 200,
            searches: 3,
            ..Usage::default()
        };
        assert_eq!(read(json), expected);
        assert_eq!(read(&write_usage(&expected)), expected);
    }

    #[test]
    fn writes_without_a_breakdown_are_those_of_five_minutes() {
        let usage = read(r#"{"input_tokens":1,"output_tokens":2,"cache_creation_input_tokens":50,"cache_creation":null}"#);
        assert_eq!((usage.cache_write, usage.cache_write_1h), (50, 0));
        let usage = read(r#"{"input_tokens":1,"output_tokens":2,"cache_creation":{"ephemeral_1h_input_tokens":50}}"#);
        assert_eq!((usage.cache_write, usage.cache_write_1h), (0, 50));
        // A part that is more than the whole is cut to it.
        let absurd = r#"{"output_tokens":2,"output_tokens_details":{"thinking_tokens":9},"cache_creation_input_tokens":5,"cache_creation":{"ephemeral_1h_input_tokens":50}}"#;
        assert_eq!(read(absurd).total(), 7);
    }

    #[test]
    fn later_reports_replace_number_by_number() {
        let mut report = Report::read(
            r#"{"input_tokens":10,"cache_creation_input_tokens":7,"cache_creation":{"ephemeral_1h_input_tokens":7},"output_tokens":1}"#,
        )
        .unwrap();
        report.merge(&Report::read(r#"{"cache_creation_input_tokens":7,"output_tokens":15}"#).unwrap());
        report.merge(&Report::read(r#"{"input_tokens":12,"output_tokens":20}"#).unwrap());
        assert_eq!(report.usage(), Usage { input: 12, cache_write_1h: 7, output: 20, ..Usage::default() });
    }

    #[test]
    fn what_counts_no_tokens_is_no_usage() {
        for json in ["null", "{}", "[1,2]", r#"{"input_tokens":-1}"#, r#"{"output_tokens":"5"}"#, r#"{"server_tool_use":null}"#] {
            assert_eq!(read_usage(json), None, "{json}");
        }
    }
}
