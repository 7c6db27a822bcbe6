//! Downloads model files from the Hugging Face hub into a cache folder.
//!
//! [`Hub::fetch`] lists a model's files, downloads the one with the weights, and checks it against
//! the SHA-256 that the hub publishes. Cached files are not downloaded again, and interrupted
//! downloads are resumed. The cache folder contains:
//!
//! ```text
//! hub/timm--resnet50.tv_in1k/refs/main                      the commit that a revision stood for
//! hub/timm--resnet50.tv_in1k/<commit>.json                  the files of that commit
//! hub/timm--resnet50.tv_in1k/<commit>/model.safetensors     a file, whole and checked
//! hub/timm--resnet50.tv_in1k/<commit>/model.safetensors.part   the beginning of one
//! ```

mod download;
mod error;
mod listing;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use piggyback_task::atomic;
use piggyback_task::lock::FileLock;
use serde::Serialize;
use ureq::config::RedirectAuthHeaders;
use ureq::{Agent, Body, http};

pub use error::{Error, Result};
use listing::{Listing, is_commit, is_model, percent_encoded, shards};
use piggyback::checkpoint::Lookalike;

/// The Hugging Face hub itself.
pub const ENDPOINT: &str = "https://huggingface.co";

/// Timeout for a connection, and for the next bytes of a response.
const PATIENCE: Duration = Duration::from_secs(60);

/// A hub with its cache folder.
#[derive(Debug)]
pub struct Hub {
    endpoint: String,
    token: Option<String>,
    cache: PathBuf,
    agent: Agent,
}

/// Progress of [`Hub::fetch`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Progress<'a> {
    /// Waiting for another process that is fetching the same model.
    Waiting,
    /// The hub does not respond, so the revision's last known commit is used.
    Offline {
        /// The network error.
        reason: &'a str,
        /// The last known commit.
        commit: &'a str,
    },
    /// A file is being downloaded.
    Downloading {
        /// Its name in the model.
        file: &'a str,
        /// Bytes downloaded so far.
        bytes: u64,
        /// Total size, bytes.
        total_bytes: u64,
    },
}

/// The result of [`Hub::fetch`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetched {
    /// The commit of the revision.
    pub commit: String,
    /// The requested file; for the index of a sharded checkpoint, followed by its shards.
    pub files: Vec<FetchedFile>,
}

/// A complete, verified file in the cache.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FetchedFile {
    /// Its path.
    pub path: PathBuf,
    /// Its size, bytes.
    pub bytes: u64,
    /// SHA-256 of its content in hexadecimal.
    pub sha256: String,
    /// Bytes downloaded by this call: 0 if it was cached.
    pub downloaded_bytes: u64,
}

impl Hub {
    /// The hub at `endpoint` (such as [`ENDPOINT`]), with cache folder `cache`.
    ///
    /// `token` gives access to private and gated models. It is sent only to the endpoint's host,
    /// never to a redirect target on another host. Proxies are taken from the environment
    /// (`HTTPS_PROXY`, `NO_PROXY`).
    ///
    /// # Errors
    ///
    /// The endpoint is not an `http://` or `https://` URL.
    pub fn new(endpoint: &str, token: Option<&str>, cache: impl Into<PathBuf>) -> Result<Self> {
        if !["http://", "https://"].iter().any(|scheme| {
            let host = endpoint.strip_prefix(scheme);
            host.is_some_and(|host| !host.is_empty())
        }) {
            let reason = format!("'{endpoint}' is not a URL; expected one like {ENDPOINT}");
            return Err(Error::setting("endpoint", reason));
        }
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .redirect_auth_headers(RedirectAuthHeaders::SameHost)
            .timeout_connect(Some(PATIENCE))
            .timeout_recv_response(Some(PATIENCE))
            .timeout_per_read(Some(PATIENCE))
            .user_agent(concat!("piggyback/", env!("CARGO_PKG_VERSION")))
            .build();
        Ok(Self {
            endpoint: endpoint.trim_end_matches('/').to_owned(),
            token: token.map(str::to_owned),
            cache: cache.into(),
            agent: config.into(),
        })
    }

    /// Downloads a file of `model` (`owner/name`) at `revision` (a branch, tag or commit) into the
    /// cache.
    ///
    /// The default `file` is `model.safetensors`, or else `model.safetensors.index.json` with its
    /// shards, or else the only `.safetensors` file, or else `pytorch_model.bin`.
    ///
    /// A cached commit needs no network. If the hub does not respond, a branch's last known commit
    /// is used if cached. An interrupted download is resumed by the next call.
    ///
    /// # Errors
    ///
    /// The model, revision or file does not exist or needs a token; the hub does not respond; a
    /// file's size or SHA-256 differs from the hub's (the file is deleted); the cache cannot be
    /// written; or names that leave the cache folder.
    pub fn fetch(
        &self,
        model: &str,
        revision: &str,
        file: Option<&str>,
        mut observe: impl FnMut(Progress<'_>),
    ) -> Result<Fetched> {
        if !is_model(model) {
            let expected = "is not a hub model; expected OWNER/NAME";
            return Err(Error::model(model, expected));
        }
        if let Some(other) = Lookalike::called(model) {
            let ours = other.architecture;
            return Err(Error::model(
                model,
                format!(
                    "is not a {ours}: it has the same tensors, but {}, so it would give wrong \
                     outputs; give a model of {ours}",
                    other.difference
                ),
            ));
        }
        if matches!(revision, "" | "." | "..") {
            return Err(Error::model(model, format!("has no revision '{revision}'")));
        }
        let mut fetch = Fetch {
            hub: self,
            model,
            folder: self.cache.join("hub").join(model.replace('/', "--")),
            observe: &mut observe,
        };
        // Two concurrent writers would corrupt a file.
        let _lock = fetch.lock()?;
        let listing = fetch.listing(revision)?;
        let name = listing.choose(model, file)?;
        let first = fetch.file(&listing, &name)?;
        let parts = if name.ends_with(".index.json") {
            shards(model, &name, &first.path)?
        } else {
            Vec::new()
        };
        let mut files = vec![first];
        for part in parts {
            files.push(fetch.file(&listing, &part)?);
        }
        Ok(Fetched {
            commit: listing.commit,
            files,
        })
    }

    /// Requests a URL below the endpoint; `Ok` is a response with one of the `expected` status
    /// codes.
    fn get(
        &self,
        model: &str,
        path: &str,
        range: Option<String>,
        expected: &[u16],
    ) -> Result<http::Response<Body>> {
        let mut request = self.agent.get(format!("{}/{path}", self.endpoint));
        if let Some(token) = &self.token {
            request = request.header("Authorization", format!("Bearer {token}"));
        }
        if let Some(range) = range {
            request = request.header("Range", range);
        }
        let answer = request.call().map_err(|error| match error {
            ureq::Error::BadUri(_) | ureq::Error::Http(_) => Error::model(
                model,
                format!("cannot be requested ({error}); check the endpoint and the token"),
            ),
            ureq::Error::Io(error) => self.no_answer(&error),
            error => self.no_answer(&error),
        })?;
        match answer.status().as_u16() {
            code if expected.contains(&code) => Ok(answer),
            code @ 500.. => Err(self.no_answer(&format!("it returned error {code}"))),
            code => Err(Error::model(model, self.refusal(code, model))),
        }
    }

    /// The message for a client error of the hub.
    fn refusal(&self, code: u16, model: &str) -> String {
        let (endpoint, token) = (&self.endpoint, self.token.is_some());
        match code {
            // Without a token the hub does not reveal which models exist.
            401 | 403 if token => format!(
                "is not accessible with your token (error {code}): check the name, and on \
                 {endpoint}/{model} whether you have to accept the model's conditions"
            ),
            401 | 403 => format!(
                "does not exist, or is private or gated (error {code}): check the name on \
                 {endpoint}/{model}, or set HF_TOKEN to a token of {endpoint}/settings/tokens"
            ),
            404 => format!(
                "or the requested revision or file does not exist (error 404); see \
                 {endpoint}/{model}/tree/main"
            ),
            429 => {
                "was requested too often (error 429): wait a few minutes, or set HF_TOKEN".into()
            }
            code => format!("is not available: the hub returned error {code}"),
        }
    }

    fn no_answer(&self, reason: &dyn std::fmt::Display) -> Error {
        Error::Unreachable {
            endpoint: self.endpoint.clone(),
            reason: reason.to_string(),
        }
    }
}

/// A model being fetched.
struct Fetch<'a> {
    hub: &'a Hub,
    model: &'a str,
    /// The model's folder in the cache.
    folder: PathBuf,
    observe: &'a mut dyn FnMut(Progress<'_>),
}

impl Fetch<'_> {
    /// Locks this model against other processes until the lock is dropped.
    fn lock(&mut self) -> Result<FileLock> {
        create_folder(&self.folder)?;
        let path = self.folder.join(".lock");
        let lock = FileLock::take(&path, || (self.observe)(Progress::Waiting));
        lock.map_err(|source| Error::write(&path, source))
    }

    /// The files of the model at a revision, from the hub or from the cache.
    fn listing(&mut self, revision: &str) -> Result<Listing> {
        let reference = self.folder.join("refs").join(percent_encoded(revision));
        let recorded = if is_commit(revision) {
            self.recorded(revision)
        } else {
            fs::read_to_string(&reference)
                .ok()
                .and_then(|commit| self.recorded(&commit))
        };
        match recorded {
            // A commit never changes; a branch does.
            Some(listing) if listing.commit == revision => Ok(listing),
            recorded => match (self.ask(revision), recorded) {
                (Err(error @ Error::Unreachable { .. }), Some(listing)) => {
                    (self.observe)(Progress::Offline {
                        reason: &error.to_string(),
                        commit: &listing.commit,
                    });
                    Ok(listing)
                }
                (Err(error), _) => Err(error),
                (Ok(listing), _) => {
                    let text = listing.to_json();
                    write(&self.listing_path(&listing.commit), text.as_bytes())?;
                    if !is_commit(revision) {
                        write(&reference, listing.commit.as_bytes())?;
                    }
                    Ok(listing)
                }
            },
        }
    }

    /// Requests the model's list of files from the hub.
    fn ask(&self, revision: &str) -> Result<Listing> {
        let (model, encoded) = (self.model, percent_encoded(revision));
        let path = format!("api/models/{model}/revision/{encoded}?blobs=true");
        let mut answer = self.hub.get(model, &path, None, &[200])?;
        let text = (answer.body_mut().read_to_vec()).map_err(|error| self.hub.no_answer(&error))?;
        let listing = Listing::parse(model, &text)?;
        if is_commit(revision) && listing.commit != revision {
            let commit = &listing.commit;
            let reason = format!("at commit {revision} was asked for; the hub sent {commit}");
            return Err(Error::model(model, reason));
        }
        Ok(listing)
    }

    fn recorded(&self, commit: &str) -> Option<Listing> {
        if !is_commit(commit) {
            return None;
        }
        let text = fs::read(self.listing_path(commit)).ok()?;
        let listing = Listing::parse(self.model, &text).ok()?;
        (listing.commit == commit).then_some(listing)
    }

    fn listing_path(&self, commit: &str) -> PathBuf {
        self.folder.join(format!("{commit}.json"))
    }
}

fn create_folder(path: &Path) -> Result<()> {
    fs::create_dir_all(path).map_err(|source| Error::write(path, source))
}

/// Writes a small file; creates its folder if needed.
fn write(path: &Path, content: &[u8]) -> Result<()> {
    create_folder(path.parent().unwrap_or(Path::new(".")))?;
    atomic::write(path, content).map_err(|source| Error::write(path, source))
}
