//! Reads messages from standard input, one a line, and says of each what it is or why it would be
//! refused: for a look at what a client or server sends.

use std::io::{Read, Write};

use mcp_wire::{Limits, Lines, List, Message, json, parse_one};

fn main() -> std::io::Result<()> {
    let (mut input, mut out) = (std::io::stdin().lock(), std::io::stdout().lock());
    let mut lines = Lines::new(json::MAX_BYTES);
    let mut buffer = vec![0; 64 << 10];
    let mut refused = 0;
    loop {
        let count = input.read(&mut buffer)?;
        lines.push(buffer.get(..count).unwrap_or_default());
        while let Some(line) = lines.next_line().map_err(std::io::Error::other)? {
            match parse_one(&line, Limits::default()) {
                Ok(message) => writeln!(out, "{}", describe(&message))?,
                Err(error) => {
                    refused += 1;
                    writeln!(out, "REFUSED: {error}")?;
                }
            }
        }
        if count == 0 {
            lines.finish().map_err(std::io::Error::other)?;
            return writeln!(out, "{refused} refused");
        }
    }
}

fn describe(message: &Message) -> String {
    match message {
        Message::Request(request) => {
            let fields = request.flatten_arguments();
            format!("{} {:?} with {} fields", request.id(), request.method(), fields.fields.len())
        }
        Message::Notification(notification) => notification.method_name().to_owned(),
        Message::Response(response) => {
            let tools = response.definitions(List::Tools).map(|all| {
                let hiding = all.iter().filter(|it| it.hides()).count();
                format!("{} tools, {hiding} hide something", all.len())
            });
            let id = response.id().map(ToString::to_string).unwrap_or_default();
            format!("{id} {:?}, error {:?}, {tools:?}", response.result_type(), response.error())
        }
    }
}
