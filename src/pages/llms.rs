//! `llms.txt`: what this is, its endpoints, and the models with prices and health, in Markdown for models to read.
//!
//! What always holds: a text from outside is one line and opens no markup; one model is one item.

use std::fmt::Write;

use super::frame::model_path;
use super::view::{Model, PageContext, Route};
use super::words;

/// Its media type.
pub const CONTENT_TYPE: &str = "text/plain; charset=utf-8";

/// What can be asked, and what it is.
const ENDPOINTS: [(&str, &str); 12] = [
    ("POST /v1/chat/completions", "chat, streamed or not, as OpenAI has it"),
    ("POST /v1/responses", "OpenAI's responses"),
    ("POST /v1/messages", "chat as Anthropic has it"),
    ("POST /v1beta/models/{model}:generateContent", "chat as Gemini has it"),
    ("POST /v1/embeddings", "vectors from text"),
    ("POST /v1/images/generations", "images from text"),
    ("POST /v1/audio/speech", "audio from text"),
    ("POST /v1/audio/transcriptions", "text from audio"),
    ("POST /v1/rerank", "documents by relevance"),
    ("GET /v1/models", "what this key can call now"),
    ("POST /v1/route", "who would serve a request, at which price, paid by which balance; spends nothing"),
    ("GET /v1/receipts", "what was charged and why, one receipt for every request"),
];

/// The whole text.
pub fn llms(site: &PageContext, models: &[Model]) -> String {
    let origin = line(&site.origin);
    let mut text = format!(
        "# tokens-forge\n\n> An OpenAI-compatible gateway for AI models. The catalogue says whether a model can be called now, and every \
         charge has a receipt that explains it.\n\nThe base URL for OpenAI SDKs is {origin}/v1. Every request has `Authorization: Bearer \
         sk-tf-...`. Official routes are paid by official credit, routed ones by the routed wallet. A model's name may end in `:official` or \
         `:routed` to choose. Prices and health below are as of {}.\n\n## Endpoints\n\n",
        words::moment_text(site.now),
    );
    for (endpoint, what) in ENDPOINTS {
        let _ = writeln!(text, "- `{endpoint}`: {what}");
    }
    text.push_str("\n## Models\n\n");
    for model in models {
        text.push_str(&item(&origin, model));
    }
    let _ = write!(
        text,
        "\n## Docs\n\n- [OpenAPI]({origin}/openapi.json): every endpoint with its fields\n- [Documentation]({origin}/docs/): how to use \
         them\n- [Models]({origin}/models): the catalogue as a page\n- [Status]({origin}/status): every route over 90 days\n"
    );
    text
}

fn item(origin: &str, model: &Model) -> String {
    let callable = if model.availability.is_callable { "callable now" } else { "not callable now" };
    let mut text = format!("- [{}]({origin}{}): ", line(&model.id), model_path(&model.id));
    let _ = write!(text, "{}, {}", line(&model.name), words::kind(model.kind).to_lowercase());
    if model.context_length > 0 {
        let _ = write!(text, ", {} tokens context", words::grouped(model.context_length));
    }
    let _ = write!(text, ", {callable}.");
    for route in &model.routes {
        text.push_str(&route_words(route));
    }
    text.push('\n');
    text
}

fn route_words(route: &Route) -> String {
    let mut text = format!(" {} is {}", words::route(route.kind), words::status_word(route.status).to_lowercase());
    for row in route.prices.iter().filter(|row| row.is_headline) {
        let (class, unit) = (line(&row.class).to_lowercase(), line(&row.unit));
        let _ = write!(text, ", {class} {} {} {unit}", line(&row.amount), line(&route.bucket.currency));
    }
    text.push('.');
    text
}

/// The text on one line, without what Markdown or HTML would act on.
fn line(text: &str) -> String {
    text.chars().filter(|c| !c.is_control() && !matches!(c, '[' | ']' | '<' | '>' | '`' | '\\' | '*' | '|')).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pages::testing;

    #[test]
    fn every_model_is_one_line_with_prices_and_health() {
        let text = llms(&testing::site("/llms.txt"), &testing::models());
        assert!(text.starts_with("# tokens-forge\n\n> "));
        let line = text.lines().find(|line| line.starts_with("- [gpt-5.5]")).unwrap();
        assert_eq!(
            line,
            "- [gpt-5.5](https://forge.example/models/gpt-5.5): GPT-5.5, chat, 400,000 tokens context, callable now. Official is up, input 1.25 \
             USD per 1M tokens, output 10 USD per 1M tokens. Routed is degraded, input 4.5 CNY per 1M tokens, output 36 CNY per 1M tokens."
        );
    }

    #[test]
    fn a_hostile_name_stays_on_its_line() {
        let models = testing::hostile_models();
        let text = llms(&testing::site("/llms.txt"), &models);
        let section = text.split("## Models\n\n").nth(1).unwrap().split("\n\n## Docs").next().unwrap();
        assert_eq!(section.lines().count(), models.len());
        assert!(!section.contains('<') && !section.contains("](javascript"));
    }
}
