//! A hub on this machine, for tests: one model, and the ways in which a server can misbehave.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// The model that every server has.
pub const MODEL: &str = "timm/tiny.test";

/// The commit that its branch `main` is at.
pub const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// SHA-256 of [`weights`], computed elsewhere.
pub const SHA256: &str = "3c65ea93424a9c362fec0e3a69ea36031e8a358441479dd665cc6110eabe7b08";

/// What `model.safetensors` holds.
pub fn weights() -> Vec<u8> {
    (0..300_000_u32).map(|i| (i % 251) as u8).collect()
}

/// How a server behaves; by default as it should.
#[derive(Clone, Default)]
pub struct Behaviour {
    /// The API's answer, if not the model's files.
    pub listing: Option<String>,
    /// The content of files by their path in the model.
    pub files: BTreeMap<String, Vec<u8>>,
    /// What every request is answered with instead.
    pub status: Option<u16>,
    /// Files are sent on to this address.
    pub redirect: Option<String>,
    /// Files are sent from their beginning, whatever was asked for.
    pub ignores_ranges: bool,
    /// The connection is closed after this many bytes of a file.
    pub cut_bytes: Option<usize>,
    /// After that many bytes the connection is left open and silent.
    pub stall_bytes: Option<usize>,
}

/// What was asked for.
#[derive(Clone, Debug)]
pub struct Request {
    /// Path and query.
    pub path: String,
    /// By their names in lower case.
    pub headers: BTreeMap<String, String>,
}

/// A server; it runs until the process ends.
pub struct Server {
    port: u16,
    behaviour: Arc<Mutex<Behaviour>>,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl Server {
    /// A server on a free port.
    pub fn start(behaviour: Behaviour) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let server = Self {
            port: listener.local_addr().unwrap().port(),
            behaviour: Arc::new(Mutex::new(behaviour)),
            requests: Arc::default(),
        };
        let (behaviour, requests) = (server.behaviour.clone(), server.requests.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                // A client that was killed is no concern of the server.
                let _ = answer(stream.unwrap(), &behaviour, &requests);
            }
        });
        server
    }

    /// Its address, with the host written as `host`.
    pub fn address(&self, host: &str) -> String {
        format!("http://{host}:{}", self.port)
    }

    /// Behaves otherwise from now on.
    pub fn set(&self, behaviour: Behaviour) {
        *self.behaviour.lock().unwrap() = behaviour;
    }

    /// Takes the requests since the last call.
    pub fn requests(&self) -> Vec<Request> {
        std::mem::take(&mut self.requests.lock().unwrap())
    }
}

/// A model with the weights alone.
pub fn listing() -> String {
    format!(
        r#"{{"id": "{MODEL}", "sha": "{COMMIT}", "siblings": [
            {{"rfilename": "README.md", "size": 3, "blobId": "00"}},
            {{"rfilename": "model.safetensors", "size": 300000, "lfs": {{"sha256": "{SHA256}"}}}}
        ]}}"#
    )
}

fn answer(
    mut stream: TcpStream,
    behaviour: &Mutex<Behaviour>,
    requests: &Mutex<Vec<Request>>,
) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let first = lines.next().unwrap_or(Ok(String::new()))?;
    let path = first.split(' ').nth(1).unwrap_or_default().to_owned();
    let mut headers = BTreeMap::new();
    for line in lines {
        match line?.split_once(": ") {
            Some((name, value)) => headers.insert(name.to_lowercase(), value.to_owned()),
            None => break,
        };
    }
    let range = headers.get("range").cloned();
    let behaviour = behaviour.lock().unwrap().clone();
    requests.lock().unwrap().push(Request {
        path: path.clone(),
        headers,
    });

    let mut reply = |status: u16, more: String, body: &[u8], length: usize| {
        write!(
            stream,
            "HTTP/1.1 {status} x\r\nConnection: close\r\nContent-Length: {length}\r\n{more}\r\n"
        )?;
        stream.write_all(body)
    };
    if let Some(status) = behaviour.status {
        return reply(status, String::new(), b"", 0);
    }
    let asked = path.strip_prefix(&format!("/api/models/{MODEL}/revision/"));
    let revision = asked.and_then(|asked| asked.strip_suffix("?blobs=true"));
    // All commits are one here.
    if revision.is_some_and(|revision| revision == "main" || revision.len() == 40) {
        let listing = behaviour.listing.unwrap_or_else(listing);
        return reply(200, String::new(), listing.as_bytes(), listing.len());
    }
    if let Some(elsewhere) = behaviour.redirect {
        return reply(302, format!("Location: {elsewhere}{path}\r\n"), b"", 0);
    }
    let name = path.strip_prefix(&format!("/{MODEL}/resolve/{COMMIT}/"));
    let content = match name {
        Some("model.safetensors") => Some(weights()),
        Some(name) => behaviour.files.get(name).cloned(),
        None => None,
    };
    let Some(content) = content else {
        return reply(404, String::new(), b"", 0);
    };
    let start = range
        .filter(|_| !behaviour.ignores_ranges)
        .and_then(|range| {
            range
                .strip_prefix("bytes=")?
                .strip_suffix('-')?
                .parse()
                .ok()
        });
    let rest = &content[start.unwrap_or(0)..];
    let (status, more) = match start {
        None => (200, String::new()),
        Some(start) => {
            let (last, total) = (content.len() - 1, content.len());
            (
                206,
                format!("Content-Range: bytes {start}-{last}/{total}\r\n"),
            )
        }
    };
    let sent = (behaviour.cut_bytes.or(behaviour.stall_bytes)).unwrap_or(rest.len());
    reply(status, more, &rest[..sent.min(rest.len())], rest.len())?;
    if behaviour.stall_bytes.is_some() {
        // The client ends the connection.
        std::io::copy(&mut stream, &mut std::io::sink())?;
    }
    Ok(())
}
