//! What a request may cost and who can serve it.

use super::media::{may_have_sound, mime_type};
use crate::dialect::body::Body;
use crate::dialect::envelope::{Envelope, MOST_CHOICES, MOST_TOKENS};
use crate::dialect::json::Object;
use crate::dialect::node::Node;
use crate::refusal::Refusal;
use crate::usage::Class;

/// Tools that cost tokens alone. What Google searches for has a price for each search, and nobody can say how many it makes.
const TOOLS: [&str; 4] = ["functionDeclarations", "codeExecution", "urlContext", "computerUse"];
/// Tools that have such prices.
const COSTLY: [&str; 7] =
    ["googleSearch", "googleSearchRetrieval", "googleMaps", "enterpriseWebSearch", "fileSearch", "retrieval", "mcpServers"];

/// A request without what is embedded, so that nothing large is read twice.
pub fn lean<'b>(body: &'b Body<'_>) -> Result<Node<'b>, Refusal> {
    let object = Object::parse(&body.lean).ok_or_else(|| Refusal::invalid("", "The request must be an object."))?;
    Node::camel_root(&object)
}

/// Reads the envelope.
pub fn read(body: &Body<'_>, envelope: &mut Envelope) -> Result<(), Refusal> {
    let request = lean(body)?;
    if request.given("contents").is_none() {
        return Err(Refusal::invalid("contents", "`contents` is required and must be a list of contents."));
    }
    media(&request, envelope)?;
    tools(&request, envelope)?;
    generation(&request, envelope)?;
    // What is cached belongs to a credential: where it is named the request is refused, as for all that a provider keeps.
    request.text("cachedContent")?;
    if let Some(tier) = request.text("serviceTier")? {
        let tier = tier.to_ascii_lowercase();
        let tier = tier.strip_prefix("service_tier_").unwrap_or(&tier);
        if !["unspecified", "standard", "flex"].contains(&tier) {
            return Err(unpriced("serviceTier"));
        }
    }
    Ok(())
}

fn generation(request: &Node<'_>, envelope: &mut Envelope) -> Result<(), Refusal> {
    let config = request.within("generationConfig")?;
    // Thoughts count within it.
    envelope.output_limit = config.count_to("maxOutputTokens", MOST_TOKENS)?;
    envelope.choices = config.count_to("candidateCount", MOST_CHOICES)?.unwrap_or(1);
    let modalities: Option<Vec<String>> = config.read("responseModalities", "a list of strings")?;
    for modality in modalities.unwrap_or_default() {
        match modality.to_ascii_uppercase().as_str() {
            "AUDIO" => envelope.need(Class::AudioOutput),
            "IMAGE" => envelope.need(Class::ImageOutput),
            _ => {}
        }
    }
    Ok(())
}

fn media(request: &Node<'_>, envelope: &mut Envelope) -> Result<(), Refusal> {
    let mut parts = Vec::new();
    for content in request.nodes("contents")?.into_iter().chain(request.nodes("systemInstruction")?) {
        for part in content.nodes("parts")? {
            if part.given("functionResponse").is_some() {
                parts.extend(part.within("functionResponse")?.nodes("parts")?);
            }
            parts.push(part);
        }
    }
    for part in parts {
        for name in ["inlineData", "fileData"] {
            if part.given(name).is_some() {
                envelope.has_media = true;
                let data = part.within(name)?;
                // A video has sound, too.
                if may_have_sound(&mime_type(&data)?) {
                    envelope.need(Class::AudioInput);
                }
            }
        }
    }
    Ok(())
}

fn tools(request: &Node<'_>, envelope: &mut Envelope) -> Result<(), Refusal> {
    for tool in request.nodes("tools")? {
        for name in tool.names() {
            let path = tool.at(name);
            if COSTLY.contains(&name) {
                return Err(unpriced(&path));
            }
            if !TOOLS.contains(&name) {
                envelope.unknown_tool.get_or_insert(path);
            }
            // What they bring in counts as input.
            envelope.has_media |= name != "functionDeclarations";
        }
    }
    Ok(())
}

fn unpriced(path: &str) -> Refusal {
    Refusal::invalid(path, format!("What `{path}` asks for has no price here, so it cannot be served."))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &str) -> Result<Envelope, Refusal> {
        let mut envelope = Envelope::default();
        super::read(&Body::parse(body.as_bytes(), "")?, &mut envelope)?;
        Ok(envelope)
    }

    fn with(members: &str) -> String {
        format!(r#"{{"contents":[{{"parts":[{{"text":"x"}}]}}],{members}}}"#)
    }

    #[test]
    fn a_wrong_field_is_named() {
        for (members, param) in [
            (r#""generationConfig":{"maxOutputTokens":0}"#, "generationConfig.maxOutputTokens"),
            (r#""generation_config":{"max_output_tokens":"9"}"#, "generationConfig.maxOutputTokens"),
            (r#""generationConfig":{"candidateCount":1000000}"#, "generationConfig.candidateCount"),
            (r#""generationConfig":{"responseModalities":"AUDIO"}"#, "generationConfig.responseModalities"),
            (r#""generationConfig":[]"#, "generationConfig"),
            (r#""generationConfig":{"max_output_tokens":1,"maxOutputTokens":9}"#, "generationConfig"),
            (r#""tools":[{"functionDeclarations":[]},{"google_search":{}}]"#, "tools[1].googleSearch"),
            (r#""tools":{"googleSearchRetrieval":{}}"#, "tools[0].googleSearchRetrieval"),
            (r#""tools":[{"googleMaps":{}}]"#, "tools[0].googleMaps"),
            (r#""tools":[{"fileSearch":{}}]"#, "tools[0].fileSearch"),
            (r#""tools":5"#, "tools"),
            (r#""cachedContent":5"#, "cachedContent"),
            (r#""serviceTier":"priority""#, "serviceTier"),
            (r#""service_tier":"SERVICE_TIER_PRIORITY""#, "serviceTier"),
        ] {
            assert_eq!(read(&with(members)).unwrap_err().param.as_deref(), Some(param), "{members}");
        }
        assert_eq!(read(r#"{"contents":null}"#).unwrap_err().param.as_deref(), Some("contents"));
        assert_eq!(read(r#"{"contents":[5]}"#).unwrap_err().param.as_deref(), Some("contents[0]"));
        assert!(read(r#"{"contents":[],"tools":[],"generationConfig":{},"generation_config":{}}"#).is_err());
        assert!(read(&with(r#""serviceTier":"FLEX","tools":[{"googleSearch":null}],"generationConfig":null"#)).is_ok());
    }

    #[test]
    fn a_good_request_is_read() {
        let envelope = read(&with(
            r#""generation_config":{"max_output_tokens":50,"candidateCount":2,"responseModalities":["Text","Image","AUDIO"]},
               "tools":{"function_declarations":[]}"#,
        ))
        .unwrap();
        assert_eq!((envelope.output_limit, envelope.choices), (Some(50), 2));
        assert_eq!(envelope.needs, [Class::ImageOutput, Class::AudioOutput]);
        assert_eq!((envelope.session.as_deref(), envelope.has_media), (None, false));
        let plain = read(&with(r#""tools":[{"functionDeclarations":[]}]"#)).unwrap();
        assert_eq!((plain.choices, plain.has_media, plain.session, plain.output_limit), (1, false, None, None));
        assert!(read(&with(r#""tools":[{"urlContext":{}}]"#)).unwrap().has_media);
    }

    #[test]
    fn media_is_seen_and_what_may_be_heard_needs_a_price() {
        let sound = "QUJD".repeat(500);
        for (part, needs) in [
            (format!(r#"{{"inlineData":{{"mimeType":"audio/mp3","data":"{sound}"}}}}"#), true),
            (r#"{"inline_data":{"mime_type":"AUDIO\/wav","data":"QUJD"}}"#.to_owned(), true),
            (r#"{"fileData":{"fileUri":"https://www.youtube.com/watch?v=1"}}"#.to_owned(), true),
            (
                r#"{"functionResponse":{"name":"f","response":{},"parts":[{"inlineData":{"mimeType":"video/mp4","data":""}}]}}"#
                    .to_owned(),
                true,
            ),
            (r#"{"file_data":{"file_uri":"https://x/a.pdf","mime_type":"application/pdf"}}"#.to_owned(), false),
            (r#"{"fileData":{"fileUri":"https://x/a.PNG?v=1"}}"#.to_owned(), false),
            (r#"{"inlineData":{"mimeType":"image/png","data":"QUJD"}}"#.to_owned(), false),
        ] {
            let envelope = read(&format!(r#"{{"contents":[{{"parts":[{{"text":"x"}},{part}]}}]}}"#)).unwrap();
            assert!(envelope.has_media, "{part}");
            assert_eq!(envelope.needs == [Class::AudioInput], needs, "{part}");
        }
        let text = r#"{"contents":{"parts":{"text":"{\"inlineData\":{\"mimeType\":\"audio/mp3\"}}"}}}"#;
        assert!(!read(text).unwrap().has_media);
    }
}
