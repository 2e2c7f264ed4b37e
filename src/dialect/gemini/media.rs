//! What is embedded or named: media types, base64 in both alphabets.

use std::borrow::Cow;

use crate::dialect::conversation::{MediaKind, Text};
use crate::dialect::node::Node;
use crate::refusal::Refusal;

/// Media types by the end of a path.
const EXTENSIONS: [(&str, &str); 19] = [
    ("png", "image/png"),
    ("jpg", "image/jpeg"),
    ("jpeg", "image/jpeg"),
    ("webp", "image/webp"),
    ("gif", "image/gif"),
    ("heic", "image/heic"),
    ("heif", "image/heif"),
    ("pdf", "application/pdf"),
    ("txt", "text/plain"),
    ("md", "text/markdown"),
    ("html", "text/html"),
    ("csv", "text/csv"),
    ("mp3", "audio/mp3"),
    ("wav", "audio/wav"),
    ("ogg", "audio/ogg"),
    ("flac", "audio/flac"),
    ("mp4", "video/mp4"),
    ("mov", "video/quicktime"),
    ("webm", "video/webm"),
];

/// The media type that the end of an address tells.
pub fn type_of_address(address: &str) -> Option<&'static str> {
    let path = address.split(['?', '#']).next().unwrap_or_default();
    let file = path.rsplit('/').next().unwrap_or_default();
    let (_, extension) = file.rsplit_once('.')?;
    EXTENSIONS.iter().find(|(known, _)| known.eq_ignore_ascii_case(extension)).map(|(_, media_type)| *media_type)
}

/// The media type of an `inlineData` or `fileData` object, as it says or as its address tells; empty if neither does.
pub fn mime_type(data: &Node<'_>) -> Result<String, Refusal> {
    if let Some(told) = data.text("mimeType")?.filter(|told| !told.is_empty()) {
        return Ok(told.to_ascii_lowercase());
    }
    let address = data.text("fileUri")?;
    Ok(address.and_then(|address| type_of_address(&address)).unwrap_or_default().to_owned())
}

/// Whether something of this media type may bring sound with it. Nobody knows of what has none.
pub fn may_have_sound(media_type: &str) -> bool {
    media_type.is_empty() || media_type.starts_with("audio/") || media_type.starts_with("video/")
}

/// What something of this media type is in a conversation; none for moving pictures, which no other dialect has.
pub fn kind(media_type: &str) -> Option<MediaKind> {
    match media_type.split('/').next().unwrap_or_default() {
        "image" => Some(MediaKind::Image),
        "audio" => Some(MediaKind::Audio),
        "application" | "text" => Some(MediaKind::File),
        _ => None,
    }
}

/// Base64 in the alphabet that every dialect reads. Google's own Python client writes the other.
pub fn standard_base64(data: Text<'_>) -> Text<'_> {
    let is_padded = data.len().is_multiple_of(4);
    if is_padded && memchr::memchr2(b'-', b'_', data.as_bytes()).is_none() {
        return data;
    }
    let mut own: String = data
        .chars()
        .map(|c| match c {
            '-' => '+',
            '_' => '/',
            c => c,
        })
        .collect();
    while !own.len().is_multiple_of(4) {
        own.push('=');
    }
    Cow::Owned(own)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_tells_its_type() {
        for (address, expected) in [
            ("https://a.b/c.JPG?x=.pdf", Some("image/jpeg")),
            ("https://a.b/c.pdf#page=2", Some("application/pdf")),
            ("https://a.png/c", None),
            ("https://a.b/c.exe", None),
            ("", None),
        ] {
            assert_eq!(type_of_address(address), expected, "{address}");
        }
    }

    #[test]
    fn base64_gets_the_common_alphabet() {
        assert!(matches!(standard_base64(Cow::Borrowed("QUJD")), Cow::Borrowed("QUJD")));
        assert_eq!(standard_base64(Cow::Borrowed("-_-_QQ==")), "+/+/QQ==");
        assert_eq!(standard_base64(Cow::Borrowed("QQ")), "QQ==");
    }
}
