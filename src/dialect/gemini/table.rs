//! The members of a request of Gemini's clients, by their names in camelCase.

use crate::dialect::format::UNKNOWN;
use crate::dialect::table::{Fate, Row, Table, dropped, mapped, own, refused};

/// The gateway's own members stand beside Google's.
const OWN: &[Row] = &[own("model"), own("models"), own("provider"), own("sessionId"), own("fit"), own("stream")];

const ROWS: &[Row] = &[
    mapped("contents"),
    mapped("systemInstruction"),
    mapped("tools"),
    mapped("toolConfig"),
    mapped("generationConfig"),
    dropped("safetySettings"),
    dropped("labels"),
    dropped("serviceTier"),
    refused("cachedContent", UNKNOWN),
];

const IN_CONFIG: &[Row] = &[
    mapped("stopSequences"),
    mapped("responseMimeType"),
    mapped("responseSchema"),
    mapped("responseJsonSchema"),
    mapped("responseModalities"),
    mapped("candidateCount"),
    mapped("maxOutputTokens"),
    mapped("temperature"),
    mapped("topP"),
    mapped("topK"),
    mapped("seed"),
    mapped("presencePenalty"),
    mapped("frequencyPenalty"),
    mapped("responseLogprobs"),
    mapped("logprobs"),
    mapped("thinkingConfig"),
    dropped("mediaResolution"),
    dropped("enableEnhancedCivicAnswers"),
    dropped("audioTimestamp"),
];

pub const TABLE: Table = Table { own: OWN, rows: ROWS, others: Fate::Refused(UNKNOWN) };
/// The members of `generationConfig`.
pub const GENERATION_CONFIG: Table = Table { own: &[], rows: IN_CONFIG, others: Fate::Refused(UNKNOWN) };
