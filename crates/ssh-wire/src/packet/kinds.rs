//! What the kinds of opens and requests say behind their fixed fields: RFC 4254 sections 6 and
//! 7, and OpenSSH's `PROTOCOL` for streamlocal.

use crate::read::{Reader, WireError};

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident: $read:ident),+ $(,)? })+) => {
        $(
            $(#[$doc])*
            #[derive(Debug, Clone, Copy, PartialEq, Eq)]
            pub struct $name<'a> {
                $($(#[$field_doc])* pub $field: kinds!(@type $read 'a),)+
                _bytes: std::marker::PhantomData<&'a [u8]>,
            }

            impl<'a> $name<'a> {
                /// Reads it from the packet's `rest`; exact.
                ///
                /// # Errors
                /// [`WireError`].
                pub fn parse(rest: &'a [u8]) -> Result<Self, WireError> {
                    let mut r = Reader::new(rest);
                    $(let $field = r.$read()?;)+
                    r.end()?;
                    Ok($name { $($field,)+ _bytes: std::marker::PhantomData })
                }
            }
        )+
    };
    (@type string $life:lifetime) => { &$life [u8] };
    (@type uint32 $life:lifetime) => { u32 };
    (@type boolean $life:lifetime) => { bool };
}

kinds! {
    /// `pty-req` (section 6.2): a terminal is wanted.
    PtyReq {
        /// `TERM`.
        term: string,
        /// Width in characters.
        columns: uint32,
        /// Height in characters.
        rows: uint32,
        /// Width in pixels.
        width: uint32,
        /// Height in pixels.
        height: uint32,
        /// Encoded terminal modes (section 8).
        modes: string,
    }
    /// `window-change` (section 6.7).
    WindowChange {
        /// Width in characters.
        columns: uint32,
        /// Height in characters.
        rows: uint32,
        /// Width in pixels.
        width: uint32,
        /// Height in pixels.
        height: uint32,
    }
    /// `x11-req` (section 6.3.1).
    X11Req {
        /// Only one connection is wanted.
        single: boolean,
        /// The authentication protocol's name.
        protocol: string,
        /// The cookie in hex: a secret.
        cookie: string,
        /// The screen's number.
        screen: uint32,
    }
    /// `env` (section 6.4).
    Env {
        /// The variable's name.
        name: string,
        /// Its value.
        value: string,
    }
    /// `exec` or `subsystem` (section 6.5): one string.
    Line {
        /// The command line, or the subsystem's name.
        line: string,
    }
    /// `signal` (section 6.9).
    Signal {
        /// The name without `SIG`.
        name: string,
    }
    /// `exit-status` (section 6.10).
    ExitStatus {
        /// The program's exit status.
        status: uint32,
    }
    /// `exit-signal` (section 6.10).
    ExitSignal {
        /// The name without `SIG`.
        name: string,
        /// Whether memory was dumped.
        core_dumped: boolean,
        /// The cause, for people.
        text: string,
        /// The text's language.
        language: string,
    }
    /// `direct-tcpip` (section 7.2).
    DirectTcpip {
        /// The host to connect to.
        host: string,
        /// The port to connect to.
        port: uint32,
        /// Where the connection comes from, as the client says.
        origin: string,
        /// The port it comes from, as the client says.
        origin_port: uint32,
    }
    /// `forwarded-tcpip` (section 7.2).
    ForwardedTcpip {
        /// The address that was connected to, as in the request that asked for it.
        host: string,
        /// The port that was connected to.
        port: uint32,
        /// Where the connection comes from.
        origin: string,
        /// The port it comes from.
        origin_port: uint32,
    }
    /// `x11` (section 6.3.2): the target opens it.
    X11Open {
        /// Where the connection comes from.
        origin: string,
        /// The port it comes from.
        origin_port: uint32,
    }
    /// `tcpip-forward` and `cancel-tcpip-forward` (section 7.1).
    TcpipForward {
        /// The address to listen on.
        host: string,
        /// The port to listen on; 0 leaves the choice to the target.
        port: uint32,
    }
    /// `direct-streamlocal@openssh.com` (OpenSSH `PROTOCOL` 2.4).
    DirectStreamLocal {
        /// The socket's path.
        path: string,
        /// Reserved.
        reserved: string,
        /// Reserved.
        reserved_port: uint32,
    }
    /// `forwarded-streamlocal@openssh.com` (OpenSSH `PROTOCOL` 2.4).
    ForwardedStreamLocal {
        /// The socket's path, as in the request that asked for it.
        path: string,
        /// Reserved.
        reserved: string,
    }
    /// `streamlocal-forward@openssh.com` and its cancel (OpenSSH `PROTOCOL` 2.4).
    StreamLocalForward {
        /// The socket's path.
        path: string,
    }
}
