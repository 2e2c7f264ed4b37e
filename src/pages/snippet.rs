//! The first call of a model, to copy: curl, Python and JavaScript.
//!
//! What always holds: each asks the endpoint of the model's kind at this site, and a model id is a quoted string in each
//! language, whatever is in it.

use crate::catalog::ModelKind;

/// One call in three languages.
#[derive(Debug, Clone)]
pub struct Snippets {
    /// Name of the language and the code.
    pub languages: [(&'static str, String); 3],
}

impl Snippets {
    /// For a model at this origin.
    pub fn new(origin: &str, id: &str, kind: ModelKind) -> Self {
        let call = Call { origin, model: &quoted(id), kind };
        Self { languages: [("curl", call.curl(id)), ("Python", call.python()), ("JavaScript", call.javascript())] }
    }
}

/// A string literal that JSON, Python and JavaScript read alike.
fn quoted(text: &str) -> String {
    serde_json::to_string(text).unwrap_or_default()
}

/// A word of the shell.
fn shell_word(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

struct Call<'a> {
    origin: &'a str,
    model: &'a str,
    kind: ModelKind,
}

impl Call<'_> {
    fn curl(&self, id: &str) -> String {
        let url = format!("{}{}", self.origin, self.kind.endpoint());
        let head =
            format!("export TF_KEY=sk-tf-...\n\ncurl {} \\\n  -H \"Authorization: Bearer $TF_KEY\" \\\n", shell_word(&url));
        if matches!(self.kind, ModelKind::Transcription) {
            return format!("{head}  -F {} \\\n  -F file=@speech.mp3", shell_word(&format!("model={id}")));
        }
        let body = format!("{{\"model\": {}, {}}}", self.model, self.kind.first_call());
        let end = if matches!(self.kind, ModelKind::Speech) { " \\\n  -o speech.mp3" } else { "" };
        format!("{head}  -H 'Content-Type: application/json' \\\n  -d {}{end}", shell_word(&body))
    }

    fn python(&self) -> String {
        let (model, origin) = (self.model, self.origin);
        if matches!(self.kind, ModelKind::Rerank) {
            return format!(
                "# pip install requests\nimport os, requests\n\nanswer = requests.post(\n    {},\n    headers={{\"Authorization\": f\"Bearer \
                 {{os.environ['TF_KEY']}}\"}},\n    json={{\"model\": {model}, {}}},\n)\nprint(answer.json())",
                quoted(&format!("{origin}{}", self.kind.endpoint())),
                self.kind.first_call(),
            );
        }
        let call = match self.kind {
            ModelKind::Chat | ModelKind::Rerank => format!(
                "answer = client.chat.completions.create(\n    model={model},\n    messages=[{{\"role\": \"user\", \"content\": \"Hello\"}}],\n)\n\
                 print(answer.choices[0].message.content)"
            ),
            ModelKind::Embedding => {
                format!("answer = client.embeddings.create(model={model}, input=\"Hello\")\nprint(len(answer.data[0].embedding))")
            }
            ModelKind::Moderation => {
                format!("answer = client.moderations.create(model={model}, input=\"Hello\")\nprint(answer.results[0].flagged)")
            }
            ModelKind::Image => {
                format!("answer = client.images.generate(model={model}, prompt=\"A lighthouse at dawn\")\nprint(answer.data[0])")
            }
            ModelKind::Speech => {
                format!(
                    "answer = client.audio.speech.create(model={model}, input=\"Hello\", voice=\"alloy\")\nanswer.write_to_file(\"speech.mp3\")"
                )
            }
            ModelKind::Transcription => format!(
                "with open(\"speech.mp3\", \"rb\") as file:\n    answer = client.audio.transcriptions.create(model={model}, file=file)\n\
                 print(answer.text)"
            ),
        };
        let base = quoted(&format!("{origin}/v1"));
        format!(
            "# pip install openai\nimport os\nfrom openai import OpenAI\n\nclient = OpenAI(\n    base_url={base},\n    \
             api_key=os.environ[\"TF_KEY\"],  # sk-tf-...\n)\n{call}"
        )
    }

    fn javascript(&self) -> String {
        let (model, origin) = (self.model, self.origin);
        if matches!(self.kind, ModelKind::Rerank) {
            return format!(
                "const answer = await fetch({}, {{\n  method: \"POST\",\n  headers: {{\n    \"Authorization\": `Bearer ${{process.env.TF_KEY}}`,\n    \
                 \"Content-Type\": \"application/json\",\n  }},\n  body: JSON.stringify({{\"model\": {model}, {}}}),\n}});\n\
                 console.log(await answer.json());",
                quoted(&format!("{origin}{}", self.kind.endpoint())),
                self.kind.first_call(),
            );
        }
        let call = match self.kind {
            ModelKind::Chat | ModelKind::Rerank => format!(
                "const answer = await client.chat.completions.create({{\n  model: {model},\n  messages: [{{ role: \"user\", content: \"Hello\" \
                 }}],\n}});\nconsole.log(answer.choices[0].message.content);"
            ),
            ModelKind::Embedding => format!(
                "const answer = await client.embeddings.create({{ model: {model}, input: \"Hello\" }});\nconsole.log(answer.data[0].embedding.length);"
            ),
            ModelKind::Moderation => format!(
                "const answer = await client.moderations.create({{ model: {model}, input: \"Hello\" }});\nconsole.log(answer.results[0].flagged);"
            ),
            ModelKind::Image => format!(
                "const answer = await client.images.generate({{ model: {model}, prompt: \"A lighthouse at dawn\" }});\nconsole.log(answer.data[0]);"
            ),
            ModelKind::Speech => format!(
                "import {{ writeFile }} from \"node:fs/promises\";\n\nconst answer = await client.audio.speech.create({{\n  model: {model},\n  \
                 input: \"Hello\",\n  voice: \"alloy\",\n}});\nawait writeFile(\"speech.mp3\", Buffer.from(await answer.arrayBuffer()));"
            ),
            ModelKind::Transcription => format!(
                "import {{ createReadStream }} from \"node:fs\";\n\nconst answer = await client.audio.transcriptions.create({{\n  \
                 model: {model},\n  file: createReadStream(\"speech.mp3\"),\n}});\nconsole.log(answer.text);"
            ),
        };
        let base = quoted(&format!("{origin}/v1"));
        format!(
            "// npm install openai\nimport OpenAI from \"openai\";\n\nconst client = new OpenAI({{\n  baseURL: {base},\n  \
             apiKey: process.env.TF_KEY, // sk-tf-...\n}});\n{call}"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pages::filter::KINDS;

    #[test]
    fn every_kind_has_a_call_in_every_language() {
        for kind in KINDS {
            let snippets = Snippets::new("https://forge.example", "some-model", kind);
            for (language, code) in &snippets.languages {
                assert!(code.contains("some-model") && code.contains("https://forge.example/v1"), "{language} {kind:?}: {code}");
                assert!(code.contains("TF_KEY"), "{language} {kind:?}");
            }
            assert!(snippets.languages[0].1.contains(kind.endpoint()), "{kind:?}");
        }
    }

    #[test]
    fn a_model_id_stays_a_string_in_every_language() {
        let snippets = Snippets::new("https://forge.example", "a'; rm -rf / #\"b", ModelKind::Chat);
        let [(_, curl), (_, python), (_, javascript)] = &snippets.languages;
        assert!(curl.contains(r#"{"model": "a'\''; rm -rf / #\"b", "#), "{curl}");
        assert!(python.contains(r#"model="a'; rm -rf / #\"b""#), "{python}");
        assert!(javascript.contains(r#"model: "a'; rm -rf / #\"b""#), "{javascript}");
    }
}
