//! Images: made from words, or from words and images. Some providers count tokens, others images.

use serde::de::IgnoredAny;
use serde_json::json;

use super::events::{EventLine, Events};
use super::non_chat::{MediaUsage, form_choices, form_flag, list_of, read_form_extras, read_session, set_model, with_cost};
use crate::dialect::body::Body;
use crate::dialect::envelope::{Envelope, Fields, MOST_CHOICES};
use crate::dialect::form::Form;
use crate::dialect::format::{AnswerFacts, Cost, Counting, Format, Passthrough, StreamWish, Upstream};
use crate::dialect::json::{Edit, Object};
use crate::dialect::table::{Table, mapped};
use crate::refusal::Refusal;
use crate::usage::Usage;

/// The format of `/images/generations`.
pub struct Generations;

/// The format of `/images/edits`: a form, or JSON that refers to images.
pub struct Edits;

/// What in a request may be an image.
const IMAGES: [&str; 6] = ["image", "images", "image_url", "file_id", "mask", "url"];
const EVENTS: Events = Events {
    complete: &["image_generation.completed", "image_edit.completed"],
    are_images: true,
    read: read_usage,
    write: usage_with_cost,
};

/// Members that decide what a request costs.
const MEMBERS: Table =
    Table::passing(&[mapped("prompt").decides(), mapped("n").decides(), mapped("quality").decides(), mapped("size").decides()]);

impl Format for Generations {
    fn members(&self) -> &'static Table {
        &MEMBERS
    }

    fn envelope(&self, body: &Body<'_>, envelope: &mut Envelope) -> Result<(), Refusal> {
        read_json(body, envelope)?;
        envelope.has_media = IMAGES.iter().any(|name| body.mentions(name));
        Ok(())
    }

    fn path(&self, _: &Upstream<'_>) -> String {
        "/images/generations".to_owned()
    }

    fn pass_request(&self, _: &Object<'_>, upstream: &Upstream<'_>) -> Vec<Edit> {
        set_model(upstream)
    }

    fn read_plain(&self, answer: &Object<'_>, _: Counting) -> Result<AnswerFacts, String> {
        let data = list_of(answer, "data")?;
        let images = serde_json::from_str::<Vec<IgnoredAny>>(data).map_or(0, |data| data.len());
        let images = u64::try_from(images).unwrap_or(u64::MAX);
        Ok(AnswerFacts { usage: answer.get("usage").and_then(read_usage), images, ..AnswerFacts::default() })
    }

    fn priced(&self, answer: &Object<'_>, usage: &Usage, cost: &Cost) -> Vec<Edit> {
        vec![Edit::Set("usage", usage_with_cost(answer.get("usage"), usage, cost))]
    }

    fn passthrough(&self, wish: StreamWish, _: Counting) -> Box<dyn Passthrough> {
        Box::new(EventLine::new(EVENTS, &wish))
    }
}

impl Format for Edits {
    fn members(&self) -> &'static Table {
        &MEMBERS
    }

    fn envelope(&self, body: &Body<'_>, envelope: &mut Envelope) -> Result<(), Refusal> {
        envelope.has_media = true;
        read_json(body, envelope)
    }

    fn form_envelope(&self, form: &Form<'_>, envelope: &mut Envelope) -> Result<(), Refusal> {
        read_form_extras(form, envelope)?;
        envelope.has_media = true;
        envelope.stream = form_flag(form, "stream")?;
        envelope.choices = form_choices(form)?;
        Ok(())
    }

    fn path(&self, _: &Upstream<'_>) -> String {
        "/images/edits".to_owned()
    }

    fn pass_request(&self, request: &Object<'_>, upstream: &Upstream<'_>) -> Vec<Edit> {
        Generations.pass_request(request, upstream)
    }

    fn read_plain(&self, answer: &Object<'_>, counting: Counting) -> Result<AnswerFacts, String> {
        Generations.read_plain(answer, counting)
    }

    fn priced(&self, answer: &Object<'_>, usage: &Usage, cost: &Cost) -> Vec<Edit> {
        Generations.priced(answer, usage, cost)
    }

    fn passthrough(&self, wish: StreamWish, counting: Counting) -> Box<dyn Passthrough> {
        Generations.passthrough(wish, counting)
    }
}

fn read_json(body: &Body<'_>, envelope: &mut Envelope) -> Result<(), Refusal> {
    let fields = Fields(&body.object);
    envelope.stream = fields.flag("stream")?;
    envelope.choices = fields.count("n", MOST_CHOICES)?.unwrap_or(1);
    read_session(&fields, envelope)
}

/// Reads `usage` into disjoint classes. What comes out is image, but for text that is told of.
fn read_usage(json: &str) -> Option<Usage> {
    let wire = MediaUsage::read(json)?;
    let (tokens_in, tokens_out) = (wire.input_tokens.unwrap_or(0), wire.output_tokens.unwrap_or(0));
    let image_input = wire.input_tokens_details.unwrap_or_default().image_tokens.unwrap_or(0).min(tokens_in);
    let output = wire.output_tokens_details.unwrap_or_default().text_tokens.unwrap_or(0).min(tokens_out);
    Some(Usage {
        input: tokens_in.saturating_sub(image_input),
        image_input,
        output,
        image_output: tokens_out.saturating_sub(output),
        ..Usage::default()
    })
}

fn usage_with_cost(upstream: Option<&str>, usage: &Usage, cost: &Cost) -> String {
    let own = json!({
        "input_tokens": usage.input_side(),
        "input_tokens_details": {"text_tokens": usage.input, "image_tokens": usage.image_input},
        "output_tokens": usage.output_side(),
        "total_tokens": usage.total(),
    });
    with_cost(upstream, &own, cost)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialect::openai::testing::{
        Streamed, cost, envelope, form, form_envelope, is_same_at_any_split, priced, said, sent, streamed,
    };
    use crate::dialect::stream_state::Progress;
    use crate::usage::UsageSource;

    const ANSWER: &str = include_str!("../../../tests/golden/openai/images/gpt-image-1.json");
    const STREAM: &str = include_str!("../../../tests/golden/openai/images/gpt-image-1.sse");

    #[test]
    fn how_many_images_is_read_from_json_and_from_forms() {
        let body = r#"{"prompt":"an otter","n":4,"stream":true,"user":"u","size":"1024x1024"}"#;
        let read = envelope(&Generations, body).unwrap();
        assert_eq!((read.choices, read.stream, read.has_media, read.session.as_deref()), (4, true, false, Some("u")));
        assert_eq!(sent(&Generations, body), body.replace("\"}", "\",\"model\":\"upstream-1\"}"));
        for (n, param) in [("0", "n"), ("1.5", "n"), ("\"2\"", "n"), ("1000", "n")] {
            let refusal = envelope(&Generations, &format!(r#"{{"prompt":"x","n":{n}}}"#)).unwrap_err();
            assert_eq!(refusal.param.as_deref(), Some(param), "{n}");
        }
        let json = r#"{"prompt":"x","images":[{"image_url":"https://example.com/a.png"}],"n":2}"#;
        let read = envelope(&Edits, json).unwrap();
        assert_eq!((read.choices, read.has_media), (2, true));
        assert!(envelope(&Generations, json).unwrap().has_media);

        let texts = [("prompt", "x"), ("n", "3"), ("stream", "True"), ("models", "b"), ("user", "u")];
        let read = form_envelope(&Edits, &form(&texts, Some(("image[]", 9)))).unwrap();
        assert_eq!((read.choices, read.stream, read.has_media), (3, true, true));
        assert_eq!((read.models, read.session.as_deref()), (vec!["b".to_owned()], Some("u")));
        for (name, text) in [("n", "0"), ("n", "two"), ("n", "129"), ("stream", "yes")] {
            assert_eq!(form_envelope(&Edits, &form(&[(name, text)], None)).unwrap_err().param.as_deref(), Some(name), "{text}");
        }
        let many: Vec<String> = (0..17).map(|n| format!("m{n}")).collect();
        let many: Vec<(&str, &str)> = many.iter().map(|name| ("models", name.as_str())).collect();
        assert_eq!(form_envelope(&Edits, &form(&many, None)).unwrap_err().param.as_deref(), Some("models"));
        assert!(form_envelope(&Generations, &form(&[("prompt", "x")], None)).is_err());
    }

    #[test]
    fn tokens_are_charged_by_kind() {
        let said = said(&Generations, ANSWER).unwrap();
        let usage = said.usage.unwrap();
        let expected = Usage { input: 10, image_input: 40, image_output: 50, ..Usage::default() };
        assert_eq!((usage, said.images), (expected, 1));
        // gpt-image-1, per million: 5 for text in, 10 for images in, 40 for images out.
        // 10 * 5 + 40 * 10 + 50 * 40 = 50 + 400 + 2000 = 2450 millionths.
        assert_eq!(cost(r#"{"input":"5","output":"0","image_input":"10","image_output":"40"}"#, &usage), "0.00245");
        let end = "\"image_tokens\": 40}\n  }";
        let with_cost = "\"image_tokens\": 40},\"cost\":0.5,\"cost_details\":{}\n  }";
        assert!(ANSWER.contains(end));
        assert_eq!(priced(&Generations, ANSWER, &usage), ANSWER.replace(end, with_cost));
    }

    #[test]
    fn images_are_counted_where_no_tokens_are_told() {
        let answer = r#"{"created":1589478378,"data":[{"url":"https://a"},{"url":"https://b"}]}"#;
        let said = said(&Edits, answer).unwrap();
        assert_eq!((said.usage, said.images), (None, 2));
        // dall-e-2: 0.02 for each image: 2 * 0.02.
        assert_eq!(cost(r#"{"images":"0.02"}"#, &Usage { images: said.images, ..Usage::default() }), "0.04");
        let own = r#""usage":{"input_tokens":0,"input_tokens_details":{"text_tokens":0,"image_tokens":0},"output_tokens":0,"total_tokens":0,"cost":0.5,"cost_details":{}}"#;
        assert!(priced(&Edits, answer, &Usage { images: 2, ..Usage::default() }).ends_with(&format!("],{own}}}")));
        assert!(super::Generations.read_plain(&Object::parse(r#"{"data":[]}"#).unwrap(), Counting::default()).is_err());
    }

    #[test]
    fn text_that_comes_out_is_no_image() {
        let json = r#"{"input_tokens":5,"input_tokens_details":{"image_tokens":9},"output_tokens":100,"output_tokens_details":{"text_tokens":30,"image_tokens":70}}"#;
        let expected = Usage { image_input: 5, output: 30, image_output: 70, ..Usage::default() };
        assert_eq!(read_usage(json), Some(expected));
    }

    #[test]
    fn a_stream_ends_with_its_completed_image_and_tells_the_cost() {
        let Streamed { out, progress, usage, images } = streamed(&Generations, &[STREAM.as_bytes()]);
        let expected = Usage { input: 10, image_input: 40, image_output: 50, ..Usage::default() };
        assert_eq!((progress, usage, images), (Progress::Done, (expected, UsageSource::Upstream), 1));
        // Nothing but the cost is added: the sum of all classes, here.
        assert_eq!(out, STREAM.replace("\"image_tokens\":40}}}", "\"image_tokens\":40},\"cost\":100,\"cost_details\":{}}}"));
        assert!(is_same_at_any_split(&Generations, STREAM));
        let cut = STREAM.find("event: image_generation.completed").unwrap();
        let cut = streamed(&Generations, &[&STREAM.as_bytes()[..cut]]);
        assert_eq!((cut.progress, cut.images), (Progress::Flowing, 0));
    }

    #[test]
    fn several_images_of_a_stream_add_up_and_their_prompt_counts_once() {
        let event = |tokens_in: u64, tokens_out: u64| {
            format!(
                "data: {{\"type\":\"image_edit.completed\",\"b64_json\":\"AA==\",\"usage\":{{\"input_tokens\":{tokens_in},\"output_tokens\":{tokens_out}}}}}\n\n"
            )
        };
        // Each of its own, then a count that goes on, then the end that some write.
        for (events, image_output) in [([event(7, 50), event(7, 50)], 100), ([event(7, 50), event(7, 100)], 100)] {
            let stream = events.concat() + "data: [DONE]\n\n";
            let read = streamed(&Edits, &[stream.as_bytes()]);
            assert_eq!(read.usage.0, Usage { input: 7, image_output, ..Usage::default() });
            assert_eq!((read.progress, read.images), (Progress::Done, 2));
            assert!(read.out.contains("\"cost\":57") && read.out.contains("\"cost\":107"), "{}", read.out);
            assert!(read.out.ends_with("data: [DONE]\n\n"));
        }
        let early = streamed(&Edits, &[b"data: {\"type\":\"image_edit.partial_image\"}\n\ndata: [DONE]\n\n"]);
        assert_eq!(early.progress, Progress::Flowing);
        assert!(!early.out.contains("[DONE]"));
    }
}
