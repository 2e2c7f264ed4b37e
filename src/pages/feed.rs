//! The Atom feed of incidents: one entry each, which changes when the incident ends.

use std::fmt::Write;

use super::markup::{element_id, escaped};
use super::view::{Incident, PageContext};
use super::words;

/// Its media type.
pub const CONTENT_TYPE: &str = "application/atom+xml; charset=utf-8";

/// The feed, in the order of the incidents.
pub fn incidents(site: &PageContext, incidents: &[&Incident]) -> String {
    let origin = escaped(&site.origin);
    let updated = incidents.iter().map(|incident| incident.ended_at.unwrap_or(incident.started_at)).max().unwrap_or(site.now);
    let mut feed = format!(
        "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<feed xmlns=\"http://www.w3.org/2005/Atom\"><title>tokens-forge incidents</title>\
         <id>{origin}/status</id><updated>{updated}</updated><author><name>tokens-forge</name></author>\
         <link rel=\"self\" href=\"{origin}{}\"/><link href=\"{origin}/status\"/>",
        super::frame::FEED_PATH,
    );
    for incident in incidents {
        feed.push_str(&entry(&origin, incident));
    }
    feed.push_str("</feed>\n");
    feed
}

fn entry(origin: &str, incident: &Incident) -> String {
    let word = words::status_word(incident.status);
    let (title, updated, times) = match incident.ended_at {
        Some(ended) => (
            format!("Ended: {} was {}", incident.subject, word.to_lowercase()),
            ended,
            format!("{} to {}", words::moment_text(incident.started_at), words::moment_text(ended)),
        ),
        None => (
            format!("{word}: {}", incident.subject),
            incident.started_at,
            format!("Since {}", words::moment_text(incident.started_at)),
        ),
    };
    let address = format!("{origin}/status#incident-{}", element_id(&incident.id));
    let mut text = format!("{times}. {}", incident.cause);
    if !incident.models.is_empty() {
        let _ = write!(text, " Models: {}.", incident.models.join(", "));
    }
    format!(
        "<entry><title>{}</title><id>{address}</id><link href=\"{address}\"/><published>{}</published><updated>{updated}</updated>\
         <content type=\"text\">{}</content></entry>",
        escaped(&title),
        incident.started_at,
        escaped(&text),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pages::testing;

    #[test]
    fn the_feed_is_well_formed_whatever_an_incident_says() {
        for page in [testing::status(), testing::hostile_status()] {
            let all: Vec<&Incident> = page.current.iter().chain(&page.past).collect();
            let feed = incidents(&testing::site("/status.atom"), &all);
            let read = roxmltree::Document::parse(&feed).unwrap();
            let entries: Vec<_> =
                read.descendants().filter(|node| node.has_tag_name(("http://www.w3.org/2005/Atom", "entry"))).collect();
            assert_eq!(entries.len(), all.len());
            for (entry, incident) in entries.iter().zip(&all) {
                let child =
                    |name| entry.children().find(|node| node.tag_name().name() == name).unwrap().text().unwrap().to_owned();
                assert!(child("title").contains(&incident.subject.replace('\u{0}', "")), "{}", child("title"));
                assert_eq!(child("updated"), incident.ended_at.unwrap_or(incident.started_at).to_string());
            }
        }
    }

    #[test]
    fn a_feed_without_incidents_is_a_feed() {
        let feed = incidents(&testing::site("/status.atom"), &[]);
        assert!(roxmltree::Document::parse(&feed).is_ok());
    }
}
