//! What a provider keeps and a request names: files, containers, caches, stores of knowledge, agents, prompts.
//!
//! The rule: accounts are served with the same credentials, and a provider hands an object to whoever comes with the credential
//! that it was made with. So what is kept there is named by nobody: a request that does is refused, with what to send in its place.
//! An address that anybody can fetch is no such object, and passes. What was made through the gateway itself is told by its tag,
//! see `openai/responses/owned.rs`.
//!
//! What always holds: nothing is looked for in what is the client's own in any form, such as arguments of its tools, schemas and
//! metadata; a body without such names is passed over once, and not parsed again.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use url::{Host, Url};

use super::body::{Body, strings};
use super::form::Form;
use crate::catalog::Dialect;
use crate::refusal::Refusal;

/// What is named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Thing {
    File,
    Cache,
    Container,
    Store,
    Skill,
    Connector,
    Sound,
    Voice,
    Agent,
    Prompt,
}

/// Members whose value is the id of something, or a list of ids, by their names without case and underscores, each with who has it.
const IDS: [(Thing, &[&str]); 8] = [
    // OpenAI, Anthropic, xAI, Z.ai; assistants; DashScope: files of a session; Vertex AI.
    (Thing::File, &["fileid", "fileids", "imagefileid", "inputfileid", "sessionfileids", "ragfileids"]),
    // Gemini; Volcengine.
    (Thing::Cache, &["cachedcontent", "cachedcontents", "cacheid", "contextid"]),
    // OpenAI, Anthropic.
    (Thing::Container, &["container", "containerid"]),
    (
        Thing::Store,
        &[
            // OpenAI, xAI.
            "vectorstoreid",
            "vectorstoreids",
            "collectionid",
            "collectionids",
            // Gemini, Vertex AI.
            "filesearchstorenames",
            "datastore",
            "ragcorpus",
            "ragcorpora",
            "examplestore",
            // Mistral.
            "libraryid",
            "libraryids",
            // Z.ai, Bedrock.
            "knowledgeid",
            "knowledgeids",
            "knowledgebaseid",
            "knowledgebaseids",
            // DashScope.
            "pipelineid",
            "pipelineids",
            "memoryid",
            // Azure.
            "indexname",
            "indexid",
            // Cohere, Together, Fireworks.
            "datasetid",
            "datasetids",
        ],
    ),
    // Anthropic, OpenAI.
    (Thing::Skill, &["skillid", "skillids"]),
    // OpenAI, Mistral; Azure.
    (Thing::Connector, &["connectorid", "connectorids", "projectconnectionid", "connectionid"]),
    // Mistral, Z.ai; assistants; Volcengine.
    (Thing::Agent, &["agentid", "assistantid", "botid"]),
    // OpenAI, OpenRouter.
    (Thing::Prompt, &["promptid", "preset"]),
];
/// Members whose `id`, or that of each of their items, is that of something.
const WITH_ID: [(&str, Thing); 4] =
    [("audio", Thing::Sound), ("voice", Thing::Voice), ("container", Thing::Container), ("connectors", Thing::Connector)];
/// Members of the request that name something by all that is in them: Azure's stores, which it opens with what its account may.
const WHOLE: [(&str, Thing); 1] = [("datasources", Thing::Store)];
/// Members whose value is an address, or the name of a file where the provider keeps it.
const ADDRESS: &str = "fileuri";
/// Members whose value is an address, by themselves or in `url`.
const ADDRESSES: [&str; 6] = ["fileurl", "imageurl", "videourl", "audiourl", "documenturl", "url"];
/// Where a text names a file: Qwen's long models read it there.
const IN_TEXT: &str = "fileid:";
const TEXTS: [&str; 4] = ["content", "text", "instructions", "system"];
/// Members in which everything is the client's own.
const FREE: [&str; 17] = [
    "clientmetadata",
    "parameters",
    "parametersjsonschema",
    "schema",
    "jsonschema",
    "guidedjson",
    "inputschema",
    "outputschema",
    "inputexamples",
    "metadata",
    "arguments",
    "args",
    "labels",
    "action",
    "responseschema",
    "responsejsonschema",
    "usermetadata",
];
/// A schema that has a name of its own only beside where it stands.
const FREE_IN: (&str, &str) = ("structuredoutputs", "json");
/// Who says what a message is, and who says so of a cache that Moonshot keeps: its text names it.
const CACHED: (&str, &str) = ("role", "cache");
/// The names that providers' own connectors have for everybody; each call brings the client's token for them.
const CONNECTORS: [&str; 9] = [
    "web-search",
    "connector_dropbox",
    "connector_gmail",
    "connector_googlecalendar",
    "connector_googledrive",
    "connector_microsoftteams",
    "connector_outlookcalendar",
    "connector_outlookemail",
    "connector_sharepoint",
];
/// No name that is looked for is longer.
const LONGEST_NAME: usize = 32;

/// Refuses a body that names what a provider keeps.
pub fn check(body: &Body<'_>, dialect: Dialect) -> Result<(), Refusal> {
    // What is not as it was sent has lost members that stand there twice: a provider may read the other one.
    let is_as_sent = body.as_sent.is_none();
    if is_as_sent && !strings(&body.lean).any(|(text, is_name)| if is_name { is_watched(text) } else { is_odd(text) }) {
        return Ok(());
    }
    let mut path = Vec::new();
    let mut found = None;
    let look = Look { dialect, name: "", parent: "", path: &mut path, found: &mut found };
    let mut deserializer = serde_json::Deserializer::from_str(body.as_sent.as_deref().unwrap_or(&body.lean));
    let looked = look.deserialize(&mut deserializer);
    match (found, looked) {
        (Some(thing), _) => Err(refused(thing, &written(&path), dialect)),
        (None, Err(_)) => Err(Refusal::invalid("", "The request is nested too deeply.")),
        (None, Ok(())) => Ok(()),
    }
}

/// Refuses a form that does.
pub fn check_form(form: &Form<'_>, dialect: Dialect) -> Result<(), Refusal> {
    let name = form.names().find(|name| {
        let plain: String = plain(name).chars().filter(char::is_ascii_alphanumeric).collect();
        // Of words that are more than ids the end alone says nothing.
        let mut known = IDS.iter().flat_map(|(_, names)| *names).filter(|known| !["container", "preset"].contains(known));
        known.any(|known| plain.ends_with(known))
    });
    name.map_or(Ok(()), |name| Err(refused(Thing::File, name, dialect)))
}

/// A name without case and underscores, as readers that do not mind either take it.
fn plain(name: &str) -> String {
    let folded = |c: char| match c {
        '\u{17f}' => 's',
        '\u{212a}' => 'k',
        c => c.to_ascii_lowercase(),
    };
    name.chars().filter(|c| *c != '_').map(folded).collect()
}

/// Whether a member of this name is looked at.
fn is_watched(name: &str) -> bool {
    if name.len() > LONGEST_NAME {
        return false;
    }
    let name = plain(name);
    name == ADDRESS || thing_of(&name).is_some() || WITH_ID.iter().chain(&WHOLE).any(|(known, _)| *known == name)
}

/// What a member of this name holds the id of.
fn thing_of(name: &str) -> Option<Thing> {
    IDS.iter().find(|(_, names)| names.contains(&name)).map(|(thing, _)| *thing)
}

/// Whether a text may be an address of what a provider keeps.
fn is_odd(text: &str) -> bool {
    let begins = |start: &str| text.get(..start.len()).is_some_and(|head| head.eq_ignore_ascii_case(start));
    // Beyond this length nothing is an address that anybody fetches.
    let has_scheme = text.get(..24).unwrap_or(text).split_once("://").is_some();
    begins("gs:")
        || has_scheme && !begins("http")
        || begins("http") && text.len() < 8_192 && text.to_ascii_lowercase().contains("googleapis")
        || text.trim_start().starts_with(IN_TEXT)
        || text == CACHED.1
}

/// Whether an address is that of something that a provider keeps: only the credential opens it.
fn is_kept_by_a_provider(address: &str) -> bool {
    let Ok(url) = Url::parse(address.trim()) else { return false };
    // Other schemes are a provider's own: `gs:`, `ms:`, `oss:`.
    if !matches!(url.scheme(), "http" | "https" | "data") {
        return true;
    }
    let Some(Host::Domain(host)) = url.host() else { return false };
    let host = host.trim_end_matches('.');
    let is_googles = host == "googleapis.com" || host.ends_with(".googleapis.com");
    // What is public there anybody fetches, with no credential.
    is_googles && host != "storage.googleapis.com"
}

/// Whether a file is named by an address that anybody can fetch.
fn is_public(address: &str) -> bool {
    let is_web = Url::parse(address.trim()).is_ok_and(|url| matches!(url.scheme(), "http" | "https"));
    is_web && !is_kept_by_a_provider(address)
}

enum Place {
    Member(String),
    Item(usize),
}

fn written(path: &[Place]) -> String {
    let mut out = String::new();
    for place in path {
        match place {
            Place::Member(name) if out.is_empty() => out.push_str(name),
            Place::Member(name) => out.push_str(&format!(".{name}")),
            Place::Item(at) => out.push_str(&format!("[{at}]")),
        }
    }
    out
}

/// Looks through a value. Stops where it finds something: then the path says where.
struct Look<'a> {
    dialect: Dialect,
    /// What the member is called that the value stands in, and the one that that stands in.
    name: &'a str,
    parent: &'a str,
    path: &'a mut Vec<Place>,
    found: &'a mut Option<Thing>,
}

impl Look<'_> {
    fn is_free(&self, name: &str) -> bool {
        let own = match self.dialect {
            Dialect::Anthropic => "input",
            Dialect::Gemini => "response",
            _ => "",
        };
        FREE.contains(&name) || !own.is_empty() && name == own || (self.name, name) == FREE_IN
    }

    fn thing(&self, text: &str) -> Option<Thing> {
        let is = |known: &[&str]| known.contains(&self.name);
        let by_name = thing_of(self.name);
        let by_parent = WITH_ID.iter().find(|(known, _)| self.name == "id" && *known == self.parent).map(|(_, thing)| *thing);
        match by_name.or(by_parent) {
            Some(Thing::Connector) if CONNECTORS.contains(&text) => None,
            Some(thing) => Some(thing),
            None if (self.name, text) == CACHED => Some(Thing::Cache),
            None if self.name == ADDRESS => (!is_public(text)).then_some(Thing::File),
            None if is(&ADDRESSES) => is_kept_by_a_provider(text).then_some(Thing::File),
            None if is(&TEXTS) => text.trim_start().starts_with(IN_TEXT).then_some(Thing::File),
            None => None,
        }
    }
}

impl<'de> DeserializeSeed<'de> for Look<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Look<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<(), E> {
        match self.thing(text) {
            Some(thing) => {
                *self.found = Some(thing);
                Err(E::custom("found"))
            }
            None => Ok(()),
        }
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<(), M::Error> {
        if let Some((_, thing)) = WHOLE.iter().find(|(known, _)| *known == self.name && self.parent.is_empty()) {
            *self.found = Some(*thing);
            return Err(M::Error::custom("found"));
        }
        while let Some(name) = map.next_key::<String>()? {
            let known = plain(&name);
            if self.is_free(&known) {
                map.next_value::<IgnoredAny>()?;
                continue;
            }
            self.path.push(Place::Member(name));
            let look = Look { dialect: self.dialect, name: &known, parent: self.name, path: self.path, found: self.found };
            map.next_value_seed(look)?;
            self.path.pop();
        }
        Ok(())
    }

    fn visit_seq<S: SeqAccess<'de>>(self, mut items: S) -> Result<(), S::Error> {
        let mut at = 0_usize;
        loop {
            self.path.push(Place::Item(at));
            // The items of a list have its name.
            let look = Look { dialect: self.dialect, name: self.name, parent: self.parent, path: self.path, found: self.found };
            if items.next_element_seed(look)?.is_none() {
                break;
            }
            self.path.pop();
            at = at.saturating_add(1);
        }
        self.path.pop();
        Ok(())
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    // A number is an id as well.
    fn visit_i64<E: Error>(self, number: i64) -> Result<(), E> {
        self.visit_str(&number.to_string())
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<(), E> {
        self.visit_str(&number.to_string())
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<(), E> {
        self.visit_str(&number.to_string())
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Ok(())
    }
}

/// What is said of it, and what to send in its place.
fn refused(thing: Thing, path: &str, dialect: Dialect) -> Refusal {
    let (what, next_step) = match thing {
        Thing::File => (
            "a file that a provider keeps",
            match dialect {
                Dialect::Anthropic => {
                    "Send the file itself: `source` of `type` `base64` (or `text`) with its `data`, or `url` with a public address."
                }
                Dialect::Gemini => {
                    "Send the file itself in `inlineData`, or a public http or https address (YouTube's too) in `fileUri`."
                }
                _ => "Send the file itself: as `file_data` or in `image_url`, as a data URL, or a public address in their place.",
            },
        ),
        Thing::Cache => (
            "a cache that a provider keeps",
            "Send the content itself: providers cache what requests begin with by themselves, and the receipt tells what that saved.",
        ),
        Thing::Container => ("a container of a provider", "Leave it out: containers cannot be used here."),
        Thing::Store => ("a store of knowledge of a provider", "Leave it out, and send what matters of it in the request."),
        Thing::Skill => ("a skill that a provider keeps", "Leave it out, and send its text in the request."),
        Thing::Connector => (
            "a connector of somebody's account at a provider",
            "Name one of the connectors that a provider has for everybody, such as `connector_gmail`, or a `server_url`.",
        ),
        Thing::Agent => ("an agent that a provider keeps", "Leave it out, and send its instructions and tools in the request."),
        Thing::Prompt => ("a prompt that a provider keeps", "Leave it out, and send its text in the request."),
        Thing::Sound => ("a sound that a provider keeps", "Send what was said as text in `content`."),
        Thing::Voice => {
            ("a voice of somebody's account at a provider", "Name one of the voices that the provider has for everybody.")
        }
    };
    let message = format!(
        "`{path}` refers to {what}. That belongs to an account there, which callers of this gateway share, so it cannot be referred to."
    );
    Refusal { next_step: next_step.to_owned(), ..Refusal::invalid(path, message) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    fn found(dialect: Dialect, body: &Value) -> Option<String> {
        let text = body.to_string();
        let body = Body::parse(text.as_bytes(), "").unwrap();
        check(&body, dialect).err().map(|refusal| refusal.param.unwrap())
    }

    #[test]
    fn no_way_to_write_it_hides_what_is_named() {
        for text in [
            r#"{"messages":[{"role":"user","content":[{"type":"file","file":{"file_id":"f"},"file":{"filename":"a"}}]}],"user":"a"}"#,
            r#"{"messages":[{"role":"user","content":[{"type":"file","file":{"file_id":"f"},"file":{"filename":"a"}}]}],"\u0075ser":"a"}"#,
            r#"{"messages":[{"role":"user","content":[{"type":"file","file":{"file_\u0069d":"f"}}]}]}"#,
            r#"{"messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"ms://file"}}]}]}"#,
            r#"{"messages":[{"role":"user","content":[{"type":"video_url","video_url":{"url":"OSS://bucket/file"}}]}]}"#,
            r#"{"input":"a","instructions":"fileid://file-1"}"#,
            r#"{"system":" fileid://file-1","messages":[]}"#,
        ] {
            let body = Body::parse(text.as_bytes(), "").unwrap();
            assert!(check(&body, Dialect::Openai).is_err(), "{text}");
        }
    }

    #[test]
    fn what_a_provider_keeps_is_refused_where_it_stands_in_every_dialect() {
        use Dialect::{Anthropic, Gemini, Openai};
        let input = |part: Value| json!({"input": [{"role": "user", "content": [{"type": "input_text", "text": "a"}, part]}]});
        let chat = |part: Value| json!({"messages": [{"role": "user", "content": [part]}]});
        let generate = |part: Value| json!({"contents": [{"parts": [part]}]});
        for (dialect, body, path) in [
            (Openai, input(json!({"type": "input_file", "file_id": "file-1"})), "input[0].content[1].file_id"),
            (Openai, input(json!({"type": "input_image", "file_id": "file-1", "detail": "low"})), "input[0].content[1].file_id"),
            (
                Openai,
                json!({"input": [{"type": "function_call_output", "call_id": "c", "output": [{"type": "input_file", "file_id": "f"}]}]}),
                "input[0].output[0].file_id",
            ),
            (
                Openai,
                json!({"input": [{"type": "computer_call_output", "call_id": "c", "output": {"type": "computer_screenshot", "file_id": "f"}}]}),
                "input[0].output.file_id",
            ),
            (Openai, json!({"tools": [{"type": "file_search", "vector_store_ids": ["vs_1"]}]}), "tools[0].vector_store_ids[0]"),
            (Openai, json!({"tools": [{"type": "code_interpreter", "container": "cntr_1"}]}), "tools[0].container"),
            (
                Openai,
                json!({"tools": [{"type": "code_interpreter", "container": {"type": "auto", "file_ids": ["f"]}}]}),
                "tools[0].container.file_ids[0]",
            ),
            (
                Openai,
                json!({"input": [{"type": "additional_tools", "tools": [{"type": "image_generation", "input_image_mask": {"file_id": "f"}}]}]}),
                "input[0].tools[0].input_image_mask.file_id",
            ),
            (Openai, json!({"tools": [{"type": "mcp", "connector_id": "connector_1a2b"}]}), "tools[0].connector_id"),
            (
                Openai,
                json!({"tools": [{"type": "shell", "environment": {"type": "container_reference", "container_id": "c"}}]}),
                "tools[0].environment.container_id",
            ),
            (Openai, chat(json!({"type": "file", "file": {"file_id": "file-1"}})), "messages[0].content[0].file.file_id"),
            (Openai, chat(json!({"type": "file", "file": {"File_ID": "file-1"}})), "messages[0].content[0].file.File_ID"),
            (Openai, json!({"messages": [{"role": "assistant", "audio": {"id": "audio_1"}}]}), "messages[0].audio.id"),
            (
                Openai,
                json!({"messages": [{"role": "system", "content": "fileid://file-fe-1,fileid://file-fe-2"}]}),
                "messages[0].content",
            ),
            (
                Openai,
                chat(
                    json!({"type": "image_url", "image_url": {"url": "https://generativelanguage.googleapis.com/v1beta/files/abc"}}),
                ),
                "messages[0].content[0].image_url.url",
            ),
            (
                Openai,
                chat(json!({"type": "image_url", "image_url": {"url": "gs://bucket/a.png"}})),
                "messages[0].content[0].image_url.url",
            ),
            (Openai, json!({"input": "hi", "voice": {"id": "voice_1"}}), "voice.id"),
            (
                Openai,
                json!({"prompt": "a", "images": [{"file_id": "file-1"}], "mask": {"file_id": "file-2"}}),
                "images[0].file_id",
            ),
            (
                Openai,
                json!({"messages": [], "data_sources": [{"type": "azure_search", "parameters": {"index_name": "a"}}]}),
                "data_sources[0]",
            ),
            (Openai, json!({"messages": [], "dataSources": {"type": "azure_search"}}), "dataSources"),
            (Openai, json!({"messages": [], "json": {"file_id": "f"}}), "json.file_id"),
            (Openai, json!({"messages": [{"role": "assistant", "audio": {"id": 7}}]}), "messages[0].audio.id"),
            (
                Openai,
                json!({"tools": [{"type": "retrieval", "retrieval": {"knowledge_id": "1"}}]}),
                "tools[0].retrieval.knowledge_id",
            ),
            (Openai, json!({"tools": [{"type": "document_library", "library_ids": ["1"]}]}), "tools[0].library_ids[0]"),
            (
                Openai,
                json!({"tools": [{"type": "azure_ai_search", "azure_ai_search": {"indexes": [{"project_connection_id": "c"}]}}]}),
                "tools[0].azure_ai_search.indexes[0].project_connection_id",
            ),
            (Openai, json!({"messages": [{"role": "cache", "content": "cache_id=c-1"}]}), "messages[0].role"),
            (Openai, json!({"messages": [], "connectors": [{"id": "web-search"}, {"id": "mine"}]}), "connectors[1].id"),
            (Openai, json!({"rag_options": {"pipeline_ids": ["p"], "session_file_ids": ["f"]}}), "rag_options.pipeline_ids[0]"),
            (
                Anthropic,
                chat(json!({"type": "document", "source": {"type": "file", "file_id": "file_011"}})),
                "messages[0].content[0].source.file_id",
            ),
            (Anthropic, chat(json!({"type": "container_upload", "file_id": "file_011"})), "messages[0].content[0].file_id"),
            (
                Anthropic,
                chat(
                    json!({"type": "tool_result", "tool_use_id": "t", "content": [{"type": "image", "source": {"type": "file", "file_id": "f"}}]}),
                ),
                "messages[0].content[0].content[0].source.file_id",
            ),
            (
                Anthropic,
                json!({"container": {"skills": [{"type": "custom", "skill_id": "skill_1"}]}}),
                "container.skills[0].skill_id",
            ),
            (Anthropic, json!({"container": {"id": "container_1"}}), "container.id"),
            (
                Gemini,
                generate(json!({"fileData": {"fileUri": "https://generativelanguage.googleapis.com/v1beta/files/abc"}})),
                "contents[0].parts[0].fileData.fileUri",
            ),
            (Gemini, generate(json!({"file_data": {"file_uri": "files/abc"}})), "contents[0].parts[0].file_data.file_uri"),
            (Gemini, generate(json!({"fileData": {"fileUri": "gs://bucket/a.mp4"}})), "contents[0].parts[0].fileData.fileUri"),
            (
                Gemini,
                generate(
                    json!({"functionResponse": {"name": "f", "response": {}, "parts": [{"fileData": {"fileUri": "files/a"}}]}}),
                ),
                "contents[0].parts[0].functionResponse.parts[0].fileData.fileUri",
            ),
            (
                Gemini,
                json!({"systemInstruction": {"parts": [{"fileData": {"fileUri": "files/a"}}]}}),
                "systemInstruction.parts[0].fileData.fileUri",
            ),
            (Gemini, json!({"cachedContent": "cachedContents/abc"}), "cachedContent"),
            (
                Gemini,
                json!({"generateContentRequest": {"cached_content": "cachedContents/abc"}}),
                "generateContentRequest.cached_content",
            ),
            (
                Gemini,
                json!({"tools": [{"fileSearch": {"fileSearchStoreNames": ["fileSearchStores/a"]}}]}),
                "tools[0].fileSearch.fileSearchStoreNames[0]",
            ),
        ] {
            assert_eq!(found(dialect, &body).as_deref(), Some(path), "{body}");
        }
    }

    #[test]
    fn addresses_are_told_from_what_is_kept_however_they_are_written() {
        for kept in [
            "https://GenerativeLanguage.googleapis.com/v1beta/files/a",
            "https://x@generativelanguage.googleapis.com:443/v1beta/files/a",
            "https://generativelanguage.googleapis.com./v1beta/files/a",
            "HTTP://generativelanguage.google%61pis.com/files/a",
            "https://us-central1-aiplatform.googleapis.com/v1/x",
            "GS://bucket/a",
            "files/abc",
            "",
        ] {
            assert!(!is_public(kept), "{kept}");
        }
        for public in [
            "https://www.youtube.com/watch?v=9hE5-98ZeCg",
            "https://youtu.be/9hE5",
            "https://example.com/a.pdf?x=googleapis.com",
            "https://storage.googleapis.com/cloud-samples-data/a.png",
            "http://example.com/files/a",
        ] {
            assert!(is_public(public) && !is_kept_by_a_provider(public), "{public}");
        }
        assert!(!is_kept_by_a_provider("data:image/png;base64,AAAA"));
    }

    #[test]
    fn every_name_is_known_as_readers_write_it_and_alone_or_in_a_list() {
        for name in IDS.iter().flat_map(|(_, names)| *names) {
            assert_eq!(plain(name), **name, "without case and underscores");
            assert!(name.len() <= LONGEST_NAME, "{name}");
            let upper = name.to_ascii_uppercase();
            let spread: String = name.chars().flat_map(|c| [c, '_']).take(LONGEST_NAME).collect();
            for written in [(*name).to_owned(), upper].into_iter().chain((plain(&spread) == **name).then_some(spread)) {
                for body in [
                    json!({&written: "x"}),
                    json!({"tools": [{&written: ["x"]}]}),
                    json!({"a": {"b": {&written: ""}}}),
                    json!({&written: 7}),
                    json!({"tools": [{"retrieval": {&written: [null, 1_843_318_172_036_575_232_u64]}}]}),
                    json!({"a": {&written: -1}}),
                    json!({"a": {&written: 1.5e30}}),
                ] {
                    assert!(found(Dialect::Openai, &body).is_some(), "{body}");
                }
                assert_eq!(found(Dialect::Openai, &json!({"metadata": {&written: "x"}, &written: null})), None);
            }
        }
        let mut all: Vec<_> = IDS.iter().flat_map(|(_, names)| *names).collect();
        all.sort_unstable();
        assert!(all.windows(2).all(|two| two[0] != two[1]), "each once");
    }

    #[test]
    fn what_is_the_clients_own_is_not_looked_into() {
        use Dialect::{Anthropic, Gemini, Openai};
        for (dialect, body) in [
            (
                Openai,
                json!({"metadata": {"file_id": "mine"}, "messages": [{"role": "user", "content": "about \"file_id\": \"x\""}]}),
            ),
            (
                Openai,
                json!({"tools": [{"type": "function", "name": "f", "parameters": {"properties": {"file_id": {"type": "string", "default": "a"}}, "examples": [{"file_id": "b"}]}}]}),
            ),
            (
                Openai,
                json!({"messages": [{"role": "assistant", "tool_calls": [{"function": {"arguments": "{\"file_id\":\"x\"}"}}]}]}),
            ),
            (Openai, json!({"text": {"format": {"schema": {"default": {"container": "x"}}}}})),
            (Openai, json!({"messages": [], "audio": {"voice": "alloy", "format": "mp3"}, "modalities": ["audio"]})),
            (Openai, json!({"input": "hi", "voice": "alloy"})),
            (Openai, json!({"messages": [], "data_sources": [], "dataSources": null, "connectors": [{"id": "web-search"}]})),
            (Openai, json!({"messages": [{"role": "user", "content": "cache"}], "user": "cache"})),
            (Openai, json!({"guided_json": {"properties": {"data_sources": {"type": "array"}, "agent_id": {"type": "string"}}}})),
            (
                Openai,
                json!({"guided_json": {"default": {"index_name": "a"}}, "structured_outputs": {"json": {"const": {"memory_id": 7}}}}),
            ),
            (
                Openai,
                json!({"response_format": {"type": "json_schema", "json_schema": {"default": {"index_name": "a"}, "examples": [{"file_id": 1}]}}}),
            ),
            (Openai, json!({"tools": [{"type": "mcp", "output_schema": {"default": {"container": "a"}}}]})),
            (
                Openai,
                json!({"client_metadata": {"agent_id": "mine"}, "prompt_cache_key": "mine", "tool_choice": {"name": "preset"}}),
            ),
            (Openai, json!({"tools": [{"type": "code_interpreter", "container": {"type": "auto"}}]})),
            (Openai, json!({"tools": [{"type": "mcp", "connector_id": "connector_gmail", "authorization": "ya29"}]})),
            (
                Openai,
                json!({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}]}]}),
            ),
            (
                Openai,
                json!({"messages": [{"role": "user", "content": "the text https://generativelanguage.googleapis.com/v1beta/files/abc"}]}),
            ),
            (
                Anthropic,
                json!({"messages": [{"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "read", "input": {"file_id": "mine", "container": "box"}}]}]}),
            ),
            (Anthropic, json!({"tools": [{"name": "f", "input_schema": {"properties": {"file_id": {"const": "x"}}}}]})),
            (
                Gemini,
                json!({"contents": [{"parts": [{"functionCall": {"name": "f", "args": {"fileUri": "files/mine"}}}, {"functionResponse": {"name": "f", "response": {"fileUri": "files/mine"}}}]}]}),
            ),
            (Gemini, json!({"contents": [{"parts": [{"fileData": {"fileUri": "https://www.youtube.com/watch?v=1"}}]}]})),
        ] {
            assert_eq!(found(dialect, &body), None, "{body}");
        }
    }

    #[test]
    fn a_name_in_escaped_letters_or_a_long_value_hides_nothing() {
        let long = "A".repeat(2_000);
        for body in [
            r#"{"messages":[{"content":[{"file":{"f\u0069le_id":"x"}}]}]}"#.to_owned(),
            format!(r#"{{"messages":[{{"content":[{{"file":{{"file_id":"{long}"}}}}]}}]}}"#),
            r#"{"messages":[{"content":[{"file":{"file_id":null,"file_id" : "x"}}]}]}"#.to_owned(),
        ] {
            assert!(check(&Body::parse(body.as_bytes(), "").unwrap(), Dialect::Openai).is_err(), "{body:.80}");
        }
    }

    #[test]
    fn a_refusal_says_what_to_send() {
        for (dialect, words) in [(Dialect::Openai, "file_data"), (Dialect::Anthropic, "base64"), (Dialect::Gemini, "inlineData")]
        {
            let refusal = refused(Thing::File, "a.file_id", dialect);
            assert!(refusal.next_step.contains(words) && refusal.message.contains("a.file_id"), "{}", refusal.next_step);
        }
    }

    fn anything() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<u32>().prop_map(Value::from),
            "[a-z:/ ]{0,12}".prop_map(Value::from)
        ];
        leaf.prop_recursive(4, 32, 4, |inner| {
            let name = prop_oneof!["[a-z_]{1,8}", Just("content".to_owned()), Just("source".to_owned())];
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                proptest::collection::btree_map(name, inner, 0..4)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn an_id_is_found_at_any_depth(mut bodies in proptest::collection::vec(anything(), 1..4), depth in 0usize..12, name in "(file_id|fileId|container_id|FILE_IDS|cached_content)") {
            let mut inner = json!({name: "made-up"});
            for at in 0..depth {
                inner = if at % 2 == 0 { json!([1, inner]) } else { json!({"content": inner, "n": null}) };
            }
            bodies.push(inner);
            let body = json!({"messages": bodies});
            prop_assert!(found(Dialect::Openai, &body).is_some());
        }
    }
}
