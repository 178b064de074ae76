//! What a target's configuration lets channels do at all, before any rule judges a command.

use stdio_recorder::RecordInput;

/// Which kinds of commands a target takes. What is not named is refused, and the refusal is on
/// record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[allow(clippy::struct_excessive_bools, reason = "independent words of the configuration")]
pub struct Allow {
    /// `exec`: command lines.
    pub exec: bool,
    /// `shell`: an interactive session, with or without a terminal.
    pub shell: bool,
    /// `sftp`: the subsystem.
    pub sftp: bool,
    /// `scp`: the old protocol, `scp -O`.
    pub scp: bool,
    /// `local-forward`: connections from the target to elsewhere (`-L`, `-D`, `-J`, `-W`).
    pub local_forward: bool,
    /// `remote-forward`: ports that the target listens on for the client (`-R`).
    pub remote_forward: bool,
    /// `local-streamlocal`: as `local-forward`, for sockets with a path.
    pub local_streamlocal: bool,
    /// `remote-streamlocal`: as `remote-forward`, for sockets with a path.
    pub remote_streamlocal: bool,
    /// `agent`: the client's key agent (`-A`).
    pub agent: bool,
    /// `x11`: the client's display (`-X`).
    pub x11: bool,
}

/// Whether the contents of transferred files are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Files {
    /// Their length and SHA-256.
    #[default]
    Digest,
    /// The bytes as well.
    Content,
}

/// The largest [`ChannelRules::max_channels`].
pub const MAX_CHANNELS: usize = 1024;

/// What channels to a target may do and use.
#[derive(Debug, Clone)]
pub struct ChannelRules {
    /// Kinds of commands.
    pub allow: Allow,
    /// Environment variables that clients may set: names, with one `*` at the end at most.
    pub env: Vec<String>,
    /// Keystrokes of terminals.
    pub record_input: RecordInput,
    /// Width-preserving masking of what terminals show to the client.
    pub mask_terminal: bool,
    /// Contents of files.
    pub files: Files,
    /// Most channels of one connection at a time; at most [`MAX_CHANNELS`].
    pub max_channels: usize,
    /// The largest window that is offered for one direction of a channel, in bytes: what may
    /// wait in memory for a slow receiver.
    pub channel_window: u32,
}

impl Default for ChannelRules {
    /// Nothing is allowed; 32 channels, windows of 1 MiB.
    fn default() -> Self {
        ChannelRules {
            allow: Allow::default(),
            env: Vec::new(),
            record_input: RecordInput::default(),
            mask_terminal: false,
            files: Files::default(),
            max_channels: 32,
            channel_window: 1024 * 1024,
        }
    }
}

impl ChannelRules {
    /// Whether clients may set this variable.
    pub(crate) fn lets_set(&self, name: &[u8]) -> bool {
        self.env.iter().any(|pattern| match pattern.strip_suffix('*') {
            Some(start) => name.starts_with(start.as_bytes()),
            None => pattern.as_bytes() == name,
        })
    }
}
