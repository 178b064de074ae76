//! What a proxy of the Kubernetes API must understand, without I/O.
//!
//! For programs that stand between a client such as kubectl and an API server, and decide about
//! what passes. Such a program is of use only if it sees what the server will see: so whatever
//! two readers may take for different things is refused, and what is forwarded is forwarded as it
//! came.
//!
//! - [`attributes`]: what a request asks, told from its method and URL as the API server's own
//!   authorization tells it: [`Attributes::of`].
//! - [`status`]: refusals that clients print well: [`Status`].
//! - [`protobuf`], [`cbor`]: objects that clients send in another encoding, as JSON.
//! - [`streams`]: what an exec carries over WebSocket, and how it ended.
//! - [`spdy`]: what older clients, and port forwards, carry it over.
//!
//! A size or count has a limit, each a named constant. No error and no `Debug` shows a body, a
//! command line or bytes of a stream.
//!
//! ```
//! use kubernetes_wire::{Access, Attributes, AttributesError};
//!
//! let path = "/api/v1/namespaces/default/pods/web-0/exec";
//! let query = Some("command=ls&command=-l&stdout=true");
//! let asked = Attributes::of("GET", path, query, true)?;
//! assert_eq!(asked.operation(), "get pods/exec");
//! assert_eq!(asked.resource_path().as_deref(), Some("core/pods/exec"));
//! assert_eq!((asked.namespace.as_str(), asked.name.as_str()), ("default", "web-0"));
//! // A GET, but it runs something.
//! assert!(asked.is_exec_class());
//! assert_eq!(asked.access(), Access::Write);
//! assert_eq!(asked.exec_request(query)?.unwrap().command, ["ls", "-l"]);
//!
//! // Which of the two would the server take?
//! let two = Attributes::of("GET", "/api/v1/pods", Some("watch=0&watch=1"), false);
//! assert_eq!(two, Err(AttributesError::TwoValues { name: "watch" }));
//! # Ok::<(), AttributesError>(())
//! ```

pub mod attributes;
pub mod cbor;
pub mod protobuf;
mod query;
pub mod spdy;
pub mod status;
pub mod streams;

pub use attributes::{Access, Attributes, AttributesError, ExecOptions};
pub use query::{MAX_PARAMETERS, MAX_QUERY_BYTES};
pub use status::{Reason, Status};
