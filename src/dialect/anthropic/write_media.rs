//! Images and documents in requests.

use crate::dialect::conversation::{Cache, Media, MediaKind, Source};
use crate::dialect::format::Dropped;
use crate::dialect::json::push_text;
use crate::refusal::Refusal;

/// Appends `,"cache_control":{...}` and closes the block.
pub fn push_end(out: &mut String, cache: Option<Cache>) {
    out.push_str(match cache {
        None => "}",
        Some(Cache::FiveMinutes) => ",\"cache_control\":{\"type\":\"ephemeral\"}}",
        Some(Cache::Hour) => ",\"cache_control\":{\"type\":\"ephemeral\",\"ttl\":\"1h\"}}",
    });
}

/// Appends an image or a document.
pub fn push(out: &mut String, media: &Media<'_>, cache: Option<Cache>, dropped: &mut Dropped) -> Result<(), Refusal> {
    if media.detail.as_deref().is_some_and(|detail| detail != "auto") {
        dropped.note("image_url.detail");
    }
    let is_image = match (media.kind, &media.source) {
        (MediaKind::Audio, _) => {
            return Err(Refusal::invalid("input_audio", "The provider that serves this model does not listen to audio."));
        }
        (_, Source::Base64 { media_type, .. }) => media_type.starts_with("image/"),
        (kind, _) => kind == MediaKind::Image,
    };
    out.push_str(if is_image { "{\"type\":\"image\",\"source\":" } else { "{\"type\":\"document\",\"source\":" });
    match &media.source {
        Source::Url(url) => {
            out.push_str("{\"type\":\"url\",\"url\":");
            push_text(out, url);
        }
        Source::Base64 { media_type, data } if is_image || media_type == "application/pdf" => {
            out.push_str("{\"type\":\"base64\",\"media_type\":");
            // The name that is often written, and the one that is meant.
            push_text(out, if media_type == "image/jpg" { "image/jpeg" } else { media_type });
            out.push_str(",\"data\":");
            push_text(out, data);
        }
        Source::Base64 { media_type, data } if is_text(media_type) => {
            let text = decode(data).and_then(|bytes| String::from_utf8(bytes).ok());
            let text = text.ok_or_else(|| Refusal::invalid("file", "A file of text is not UTF-8 in base64."))?;
            out.push_str("{\"type\":\"text\",\"media_type\":\"text/plain\",\"data\":");
            push_text(out, &text);
        }
        Source::Base64 { media_type, .. } => {
            let message = format!("The provider that serves this model reads no files of the type `{media_type}`.");
            return Err(Refusal::invalid("file", message));
        }
        Source::Id(_) => {
            let message = "The file is with another provider than the one that serves this model. Send its content.";
            return Err(Refusal::invalid("file_id", message));
        }
    }
    out.push('}');
    if let Some(name) = media.name.as_deref().filter(|name| !is_image && !name.is_empty()) {
        out.push_str(",\"title\":");
        push_text(out, name);
    }
    push_end(out, cache);
    Ok(())
}

fn is_text(media_type: &str) -> bool {
    let kind = media_type.split(';').next().unwrap_or_default().trim();
    kind.starts_with("text/") || ["application/json", "application/xml", "application/yaml"].contains(&kind)
}

/// Base64 in either alphabet, with or without padding and line ends.
fn decode(data: &str) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(data.len() / 4 * 3);
    let (mut bits, mut count) = (0u32, 0u32);
    for byte in data.bytes() {
        let digit = match byte {
            b'A'..=b'Z' => byte.wrapping_sub(b'A'),
            b'a'..=b'z' => byte.wrapping_sub(b'a').wrapping_add(26),
            b'0'..=b'9' => byte.wrapping_sub(b'0').wrapping_add(52),
            b'+' | b'-' => 62,
            b'/' | b'_' => 63,
            b'=' | b'\r' | b'\n' => continue,
            _ => return None,
        };
        bits = bits << 6 | u32::from(digit);
        count = count.saturating_add(6);
        if count >= 8 {
            count = count.saturating_sub(8);
            out.push(u8::try_from(bits >> count & 0xff).ok()?);
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn media(kind: MediaKind, media_type: &str, data: &'static str) -> Media<'static> {
        let source = Source::Base64 { media_type: media_type.to_owned(), data: data.into() };
        Media { kind, source, name: Some("a \"b\"".to_owned()), detail: None }
    }

    fn written(media: &Media<'_>) -> Result<String, Refusal> {
        let mut out = String::new();
        push(&mut out, media, None, &mut Dropped::default()).map(|()| out)
    }

    #[test]
    fn base64_is_read_in_either_alphabet() {
        for (data, bytes) in
            [("", "".as_bytes()), ("aGk=", b"hi"), ("aGk", b"hi"), ("aGVs\r\nbG8=", b"hello"), ("-_-_", b"\xfb\xff\xbf")]
        {
            assert_eq!(decode(data).as_deref(), Some(bytes), "{data}");
        }
        assert_eq!(decode("a b"), None);
    }

    #[test]
    fn each_kind_of_file_is_written_as_what_it_is() {
        let image = written(&media(MediaKind::File, "image/jpg", "QUJD")).unwrap();
        assert_eq!(image, r#"{"type":"image","source":{"type":"base64","media_type":"image/jpeg","data":"QUJD"}}"#);
        let pdf = written(&media(MediaKind::File, "application/pdf", "QUJD")).unwrap();
        assert_eq!(
            pdf,
            r#"{"type":"document","source":{"type":"base64","media_type":"application/pdf","data":"QUJD"},"title":"a \"b\""}"#
        );
        let text = written(&media(MediaKind::File, "text/markdown", "IyBIaQ==")).unwrap();
        assert_eq!(
            text,
            r##"{"type":"document","source":{"type":"text","media_type":"text/plain","data":"# Hi"},"title":"a \"b\""}"##
        );
    }

    #[test]
    fn what_the_provider_cannot_read_is_refused_by_name() {
        for (media, param) in [
            (media(MediaKind::Audio, "audio/wav", "QUJD"), "input_audio"),
            (media(MediaKind::File, "application/zip", "QUJD"), "file"),
            (media(MediaKind::File, "text/plain", "_w=="), "file"),
            (Media { source: Source::Id("file-1".to_owned()), ..media(MediaKind::Image, "", "") }, "file_id"),
        ] {
            assert_eq!(written(&media).unwrap_err().param.as_deref(), Some(param));
        }
    }
}
