//! Log probabilities in Gemini's form (`logprobsResult`) and in OpenAI's (`logprobs`). The numbers stay as they were written.

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::dialect::json::push_text;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Gemini<'a> {
    #[serde(borrow, default)]
    chosen_candidates: Option<Vec<GeminiToken<'a>>>,
    #[serde(borrow, default)]
    top_candidates: Option<Vec<Top<'a>>>,
}

#[derive(Deserialize)]
struct Top<'a> {
    #[serde(borrow, default)]
    candidates: Option<Vec<GeminiToken<'a>>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct GeminiToken<'a> {
    #[serde(default)]
    token: Option<String>,
    /// Left out where it is 0, as Google leaves out every zero.
    #[serde(borrow, default)]
    log_probability: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct OpenAi<'a> {
    #[serde(borrow, default)]
    content: Option<Vec<OpenAiToken<'a>>>,
}

#[derive(Deserialize)]
struct OpenAiToken<'a> {
    #[serde(default)]
    token: Option<String>,
    #[serde(borrow, default)]
    logprob: Option<&'a RawValue>,
    #[serde(borrow, default)]
    top_logprobs: Option<Vec<OpenAiToken<'a>>>,
}

/// A `logprobsResult` as OpenAI's `logprobs`; none if it has no tokens.
pub fn to_openai(json: &str) -> Option<String> {
    let result: Gemini<'_> = serde_json::from_str(json).ok()?;
    let chosen = result.chosen_candidates.filter(|chosen| !chosen.is_empty())?;
    let mut top = result.top_candidates.unwrap_or_default().into_iter();
    let mut out = String::from("{\"content\":[");
    for (index, token) in chosen.iter().enumerate() {
        separate(&mut out, index);
        push_openai(&mut out, token);
        out.push_str(",\"top_logprobs\":[");
        let others = top.next().and_then(|top| top.candidates).unwrap_or_default();
        for (index, token) in others.iter().enumerate() {
            separate(&mut out, index);
            push_openai(&mut out, token);
            out.push('}');
        }
        out.push_str("]}");
    }
    out.push_str("],\"refusal\":null}");
    Some(out)
}

fn push_openai(out: &mut String, token: &GeminiToken<'_>) {
    let text = token.token.as_deref().unwrap_or_default();
    out.push_str("{\"token\":");
    push_text(out, text);
    out.push_str(",\"logprob\":");
    out.push_str(token.log_probability.map_or("0", |raw| raw.get()));
    out.push_str(",\"bytes\":[");
    for (index, byte) in text.bytes().enumerate() {
        separate(out, index);
        out.push_str(&byte.to_string());
    }
    out.push(']');
}

/// OpenAI's `logprobs` as a `logprobsResult`; none if it has no tokens.
pub fn from_openai(json: &str) -> Option<String> {
    let logprobs: OpenAi<'_> = serde_json::from_str(json).ok()?;
    let tokens = logprobs.content.filter(|tokens| !tokens.is_empty())?;
    let mut out = String::from("{\"topCandidates\":[");
    for (index, token) in tokens.iter().enumerate() {
        separate(&mut out, index);
        out.push_str("{\"candidates\":[");
        for (index, token) in token.top_logprobs.iter().flatten().enumerate() {
            separate(&mut out, index);
            push_gemini(&mut out, token);
        }
        out.push_str("]}");
    }
    out.push_str("],\"chosenCandidates\":[");
    for (index, token) in tokens.iter().enumerate() {
        separate(&mut out, index);
        push_gemini(&mut out, token);
    }
    out.push_str("]}");
    Some(out)
}

fn push_gemini(out: &mut String, token: &OpenAiToken<'_>) {
    out.push_str("{\"token\":");
    push_text(out, token.token.as_deref().unwrap_or_default());
    out.push_str(",\"logProbability\":");
    out.push_str(token.logprob.map_or("0", |raw| raw.get()));
    out.push('}');
}

fn separate(out: &mut String, index: usize) {
    if index > 0 {
        out.push(',');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_say_the_same() {
        let gemini = r#"{"topCandidates":[{"candidates":[{"token":"é","logProbability":-0.30000000000000004},{"token":"\"","logProbability":-2}]},{"candidates":[]}],"chosenCandidates":[{"token":"é","logProbability":-0.30000000000000004},{"token":"b","logProbability":0}]}"#;
        let openai = r#"{"content":[{"token":"é","logprob":-0.30000000000000004,"bytes":[195,169],"top_logprobs":[{"token":"é","logprob":-0.30000000000000004,"bytes":[195,169]},{"token":"\"","logprob":-2,"bytes":[34]}]},{"token":"b","logprob":0,"bytes":[98],"top_logprobs":[]}],"refusal":null}"#;
        assert_eq!(to_openai(gemini).as_deref(), Some(openai));
        assert_eq!(from_openai(openai).as_deref(), Some(gemini));
        for json in ["{}", "null", "5", r#"{"content":[],"chosenCandidates":[]}"#] {
            assert_eq!((to_openai(json), from_openai(json)), (None, None), "{json}");
        }
        assert!(to_openai(r#"{"chosenCandidates":[{"token":"a"}]}"#).unwrap().contains(r#""logprob":0,"#));
    }
}
