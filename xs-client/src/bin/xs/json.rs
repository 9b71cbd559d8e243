//! JSON output: a subtree as one nested object, and flat objects of one line each.

use std::io::Write;

use xs_client::{Error, Permissions, Result, Walk};

use crate::error::describe;

/// A JSON object on a line of its own.
#[derive(Debug)]
pub(crate) struct Object(String);

impl Object {
    pub(crate) fn new() -> Self {
        Object("{".to_owned())
    }

    /// Adds a member whose value is JSON already, such as a number.
    pub(crate) fn raw(mut self, name: &str, json: impl std::fmt::Display) -> Self {
        if self.0.len() > 1 {
            self.0 += ", ";
        }
        string(name, &mut self.0);
        self.0 += &format!(": {json}");
        self
    }

    pub(crate) fn string(self, name: &str, value: &str) -> Self {
        let mut text = String::new();
        string(value, &mut text);
        self.raw(name, text)
    }

    /// Adds an array of strings.
    pub(crate) fn strings(
        self,
        name: &str,
        values: impl IntoIterator<Item = impl AsRef<str>>,
    ) -> Self {
        let mut array = String::from("[");
        for value in values {
            if array.len() > 1 {
                array += ", ";
            }
            string(value.as_ref(), &mut array);
        }
        self.raw(name, array + "]")
    }

    /// Adds a value: as a string if it is UTF-8, and in base64 otherwise, under another name.
    pub(crate) fn value(self, name: &str, value: &[u8]) -> Self {
        if let Ok(text) = std::str::from_utf8(value) {
            return self.string(name, text);
        }
        let mut text = String::from("\"");
        base64(value, &mut text);
        let name = if name == "value" { "base64".to_owned() } else { format!("{name}_base64") };
        self.raw(&name, text + "\"")
    }

    pub(crate) fn perms(self, perms: &Permissions) -> Self {
        self.strings("perms", perms.iter().map(|entry| entry.to_string()))
    }

    /// Adds the path, and the value and permissions if they are given.
    pub(crate) fn node(
        self,
        path: &str,
        value: Option<&[u8]>,
        perms: Option<&Permissions>,
    ) -> Self {
        let mut object = self.string("path", path);
        if let Some(value) = value {
            object = object.value("value", value);
        }
        match perms {
            Some(perms) => object.perms(perms),
            None => object,
        }
    }

    /// Returns the object without a line break.
    pub(crate) fn text(self) -> String {
        self.0 + "}"
    }

    /// Returns the object and a line break.
    pub(crate) fn line(self) -> String {
        self.0 + "}\n"
    }
}

/// Writes the nodes of a walk as one JSON object.
///
/// Returns `false` if a node could not be read. Such a node has a member `error`.
pub(crate) fn write_tree(walk: Walk<'_>, output: &mut impl Write) -> Result<bool> {
    let mut complete = true;
    let mut depth = 0;
    for (at, node) in walk.enumerate() {
        let mut text = String::new();
        if at > 0 {
            // The objects of the previous node and of its ancestors are still open.
            if node.depth > depth {
                text += ", \"children\": {";
            } else {
                text.extend(std::iter::repeat_n("}}", depth - node.depth));
                text += "},";
            }
            newline(&mut text, node.depth);
            string(node.path.rsplit('/').next().unwrap_or_default(), &mut text);
            text += ": ";
        }
        depth = node.depth;
        let (value, perms) = (node.value.transpose(), node.perms.transpose());
        let mut object = Object::new().node(
            &node.path,
            value.as_ref().ok().and_then(Option::as_deref),
            perms.as_ref().ok().and_then(Option::as_ref),
        );
        match value.err().or(perms.err()).or(node.children.err()) {
            None => {}
            Some(error) if at == 0 => return Err(error),
            Some(error) => {
                object = object.string("error", &describe(&error));
                complete = false;
            }
        }
        text += &object.0;
        output.write_all(text.as_bytes()).map_err(Error::other)?;
    }
    let mut end = "}}".repeat(depth);
    end += "}\n";
    output.write_all(end.as_bytes()).map_err(Error::other)?;
    Ok(complete)
}

/// Appends a line break and the indentation of a node.
fn newline(text: &mut String, depth: usize) {
    text.push('\n');
    text.extend(std::iter::repeat_n(' ', depth));
}

/// Appends a JSON string.
fn string(value: &str, text: &mut String) {
    text.push('"');
    for character in value.chars() {
        match character {
            '"' => *text += "\\\"",
            '\\' => *text += "\\\\",
            '\n' => *text += "\\n",
            '\u{0}'..='\u{1f}' | '\u{7f}'..='\u{9f}' => {
                *text += &format!("\\u{:04x}", u32::from(character));
            }
            _ => text.push(character),
        }
    }
    text.push('"');
}

/// Appends the base64 encoding (RFC 4648) of `value`.
fn base64(value: &[u8], text: &mut String) {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for three in value.chunks(3) {
        let byte = |at| u32::from(three.get(at).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for at in 0..4 {
            let digit = DIGITS[(bits >> (18 - 6 * at)) as usize & 63];
            text.push(if at <= three.len() { char::from(digit) } else { '=' });
        }
    }
}

#[cfg(test)]
mod tests {
    use xs_client::{Client, DomId};
    use xs_transport::mock::Xenstored;

    use super::*;

    fn json(seed: &str, start: &str) -> String {
        let xenstored = Xenstored::new();
        xenstored.seed(seed).unwrap();
        let client = Client::from_transport(xenstored.connect(DomId::DOM0));
        let mut output = Vec::new();
        assert!(write_tree(client.walk(start).with_values().with_perms(), &mut output).unwrap());
        String::from_utf8(output).unwrap()
    }

    #[test]
    fn objects_nest_as_nodes_do() {
        let text = json("/a [n0]\n/a/b [n0] = 1\n/a/b/c [n0 r5]\n/a/d [n0] = \"x\\n\\xff\"", "/a");
        let wanted = r#"{"path": "/a", "value": "", "perms": ["n0"], "children": {
 "b": {"path": "/a/b", "value": "1", "perms": ["n0"], "children": {
  "c": {"path": "/a/b/c", "value": "", "perms": ["n0", "r5"]}}},
 "d": {"path": "/a/d", "base64": "eAr/", "perms": ["n0"]}}}
"#;
        assert_eq!(text, wanted);
    }

    #[test]
    fn nodes_that_cannot_be_read_have_an_error() {
        let xenstored = Xenstored::new();
        xenstored.seed("/a [n0 r5] = 1\n/a/b [n0] = 2\n/a/b/c [n0 r5] = 3").unwrap();
        let client = Client::from_transport(xenstored.connect(DomId::new(5)));
        let walk = |start| client.walk(start).with_values().with_perms();
        let mut output = Vec::new();
        assert!(!write_tree(walk("/a"), &mut output).unwrap());
        let wanted = r#"{"path": "/a", "value": "1", "perms": ["n0", "r5"], "children": {
 "b": {"path": "/a/b", "error": "read \"/a/b\": EACCES (permission denied)"}}}
"#;
        assert_eq!(String::from_utf8(output).unwrap(), wanted);
        assert!(write_tree(walk("/a/b"), &mut Vec::new()).is_err());
    }

    #[test]
    fn objects_of_one_line_have_members_in_order() {
        let perms = "n0 r5".parse().unwrap();
        let object = Object::new().node("/a", Some(b"x\"y"), Some(&perms)).raw("n", 1);
        let wanted = r#"{"path": "/a", "value": "x\"y", "perms": ["n0", "r5"], "n": 1}"#;
        assert_eq!(object.text(), wanted);
        let object = Object::new().value("value", b"\xff").value("old", b"\xff");
        assert_eq!(object.line(), "{\"base64\": \"/w==\", \"old_base64\": \"/w==\"}\n");
    }

    #[test]
    fn strings_are_escaped_and_bytes_are_encoded() {
        let mut text = String::new();
        string("\"\\\n\u{1}\u{85}ä", &mut text);
        assert_eq!(text, r#""\"\\\n\u0001\u0085ä""#);
        for (value, wanted) in
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg==")]
        {
            let mut text = String::new();
            base64(value.as_bytes(), &mut text);
            assert_eq!(text, wanted);
        }
    }
}
