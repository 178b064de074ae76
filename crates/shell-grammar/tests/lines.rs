//! What lines read as, and what is not read.

#![allow(clippy::unwrap_used)] // helpers of tests

use proptest::prelude::*;
use shell_grammar::{Line, MAX_COMMANDS, MAX_DEPTH, MAX_LINE_BYTES, Why, Word, read};

fn joined(line: &Line) -> Vec<String> {
    line.commands
        .iter()
        .map(|it| String::from_utf8(it.joined_with_assignments()).unwrap())
        .collect()
}

#[track_caller]
fn reads(text: &str, commands: &[&str]) {
    let line = read(text.as_bytes());
    assert_eq!(line.unparsed, None, "{text}");
    assert_eq!(joined(&line), commands, "{text}");
}

#[track_caller]
fn refuses(text: &str, why: Why) {
    assert_eq!(read(text.as_bytes()).unparsed.map(|it| it.why), Some(why), "{text}");
}

#[test]
fn lists_pipes_and_groups() {
    reads("a; b & c && d || e | f |& g\nh", &["a", "b", "c", "d", "e", "f", "g", "h"]);
    reads("(a; (b)) && { c; { d; } } # e; f", &["a", "b", "c", "d"]);
    reads("! a | ! b", &["a", "b"]);
    reads(
        "( umask 77 && mkdir -p \"` echo /tmp/x `\" ) && sleep 0",
        &["umask 77", "echo /tmp/x", "mkdir -p \"`\\ echo\\ /tmp/x\\ `\"", "sleep 0"],
    );
    reads("", &[]);
    reads(" \n # nothing", &[]);
}

#[test]
fn words_and_quotes() {
    reads(r#"a 'b c' "d $e" f\ g h"i"'j' ''"#, &[r#"a b\ c "d\ $e" f\ g hij "#]);
    reads("a \\\n b\\\nc", &["a bc"]);
    reads(r#"a "\$x \q \"" $'t\tu'"#, &["a $x\\ \\\\q\\ \" $'t\\\\tu'"]);
    reads("a $ \"$\" '$' x$", &["a $ $ $ x$"]);
    reads("a#b c #d", &["a#b c"]);
    let line = read(b"ls *.c ~ {a,b} $x \"$y\" [a] {} x=~");
    let dynamic = line.commands[0].words.iter().filter(|it| it.plain().is_none()).count();
    assert_eq!(dynamic, 7);
    assert!(line.flags.dynamic);
    assert_eq!(line.commands[0].words[7], Word::Plain(b"{}".to_vec()));
}

#[test]
fn substitutions_come_before_their_command() {
    reads(
        "a $(b; c \"$(d)\") `e \\`f\\``",
        &["b", "d", "c \"$(d)\"", "f", "e `f`", "a $(b;\\ c\\ \"$(d)\") `e\\ \\\\`f\\\\``"],
    );
    assert!(read(b"a $(b)").commands[1].flags.substitution);
    assert!(!read(b"a $(b)").commands[0].flags.substitution);
    refuses("$(a)", Why::DynamicCommand);
    refuses("$x y", Why::DynamicCommand);
    refuses("a; =b", Why::DynamicCommand);
    reads("a ${x} ${x:-y} ${#x} ${x%.c} $1 $@", &["a ${x} ${x:-y} ${#x} ${x%.c} $1 $@"]);
    for text in ["a ${x:-$(b)}", "a ${!x}", "a ${x@P}", "a ${x/y/z}", "a ${x:y}"] {
        refuses(text, Why::Parameter);
    }
}

#[test]
fn lines_continued_inside_an_operator_or_a_name_differ_between_shells() {
    reads("a \\\n| \\\n b |\\\nc; x=1\\\n2 d\\\ne", &["a", "b", "c", "x=12 de"]);
    for text in [
        "a\\\nX=1 b",
        "a+\\\n=1 b",
        "a\\\n=1 b",
        "a 2\\\n>f",
        "{ a; } 2\\\n>f",
        "a &\\\n> f b",
        "a |\\\n\\\n| b",
        "a >\\\n!f",
        "(\\\n( 'a[$(b)]' ) )",
        "a $(\\\n( b ) )",
        "a \"$\\\n(b)\"",
        "a $\\\n(b)",
    ] {
        assert!(read(text.as_bytes()).unparsed.is_some(), "{text}");
    }
}

#[test]
fn assignments_and_redirects() {
    reads("A=1 B='x y' c; D=2", &["A=1 B=x\\ y c", "D=2"]);
    refuses("a[0]=1", Why::Differs);
    refuses("a[$(b)]=1 c", Why::Differs);
    refuses("PS4='$(b)'", Why::Builtin);
    let line = read(b"a <in >out 2>>log 2>&1 >&2 3<&- <>both >|c; >new");
    assert_eq!(line.unparsed, None);
    let files: Vec<_> =
        line.commands[0].redirects.iter().map(|it| (it.write, it.path.bytes())).collect();
    assert_eq!(
        files,
        [(false, &b"in"[..]), (true, b"out"), (true, b"log"), (true, b"both"), (true, b"c")]
    );
    assert_eq!(line.commands[1].words, []);
    assert!(line.commands[1].flags.redirect);
    // Bash expands the word behind `>&` twice: the second time, `a` would run.
    for text in ["b >&2'`a`'", "b >&$X", "b <&'$(a)'", "b >&\\`a\\`", "b >&~"] {
        assert!(read(text.as_bytes()).unparsed.is_some(), "{text}");
    }
    assert_eq!(read(b"b >&both.log").commands[0].redirects.len(), 1);
    assert!(read(b"(a) >x 2>&1").commands[1].redirects[0].write);
    refuses("a &>b", Why::Differs);
    refuses("a 10>b", Why::Differs);
    refuses("a <<E\nE", Why::HereDocument);
    refuses("a <(b)", Why::ProcessSubstitution);
    reads("a <<<b", &["a"]);
}

#[test]
fn commands_that_start_others() {
    reads(
        "sudo -n -u x -- env -i A=1 nice -n 5 rm -rf /",
        &[
            "sudo -n -u x -- env -i A=1 nice -n 5 rm -rf /",
            "env -i A=1 nice -n 5 rm -rf /",
            "nice -n 5 rm -rf /",
            "rm -rf /",
        ],
    );
    assert!(read(b"sudo rm").commands[1].flags.privileged);
    reads("/bin/sh -ec 'a | b'", &["/bin/sh -ec a\\ |\\ b", "a", "b"]);
    reads("bash -c -- a", &["bash -c -- a", "a"]);
    reads("eval a '; b'", &["eval a ;\\ b", "a", "b"]);
    reads(
        "find . -exec rm {} ';' -ok sh -c a ';'",
        &["find . -exec rm {} ; -ok sh -c a ;", "rm {}", "sh -c a", "a"],
    );
    reads("xargs -0 -n1 rm -f", &["xargs -0 -n1 rm -f", "rm -f {}"]);
    reads("xargs -I% mv % x", &["xargs -I% mv % x", "mv % x"]);
    reads(
        "timeout -k 5 10 nohup busybox sh -c a",
        &[
            "timeout -k 5 10 nohup busybox sh -c a",
            "nohup busybox sh -c a",
            "busybox sh -c a",
            "sh -c a",
            "a",
        ],
    );
    reads("command -v a", &["command -v a"]);
    refuses("xargs sh -c", Why::DynamicCommand);
    refuses("xargs -I{} sh -c 'rm {}'", Why::DynamicCommand);
    refuses("xargs sudo", Why::DynamicCommand);
    refuses("sudo -s", Why::Wrapper);
    refuses("sudo -u $x rm", Why::DynamicCommand);
    refuses("env -S 'a b'", Why::Wrapper);
    refuses("env --split-string=a", Why::Wrapper);
    refuses("sh", Why::Interpreter);
    refuses("sh script", Why::Interpreter);
    refuses("sh -c \"$x\"", Why::DynamicCommand);
    refuses("sh $x", Why::DynamicCommand);
    refuses("sh -c '\"$@\"' x rm", Why::DynamicCommand);
    refuses("bash --rcfile x -c a", Why::Wrapper);
    refuses("su -c a", Why::Wrapper);
    refuses("python3.11 -c 'import os'", Why::Interpreter);
    refuses("perl -e 1", Why::Interpreter);
    refuses("awk 'BEGIN{system(\"a\")}'", Why::Interpreter);
    refuses("time { a; }", Why::Compound);
    assert!(read(b"python3 x.py").flags.nested_shell);
    assert!(read(b"ssh other rm").flags.nested_ssh);
}

/// Lines that ran a command of which nothing was read: what a review that set out to find them found.
#[test]
fn what_would_run_unseen_is_not_understood() {
    for text in [
        "`'r\\\nm' x`",
        "a \"`'r\\\nm' x`\"",
        "env 'BASH_ENV=$(rm x)' bash -c a",
        "env 'BASH_FUNC_a%%=() { rm x; }' bash -c a",
        "sudo PS4=x bash -c a",
        "eval -- rm x",
        "time X=1 rm x",
        "time -p X=1 rm x",
        "nocorrect X=1 rm x",
        "declare -i X; X='a[$(rm x)]'",
        "Y='a[' Z='`rm x`]'; declare -i X=$Y$Z",
        "declare -n X; X=a",
        "RANDOM=$Y",
        "export RANDOM=1",
        "read RANDOM <<< $Y",
        "read 'BASH_CMDS[a]' <<< /bin/rm; a x",
        "read 'c[X]' <<< 1",
        "read -a x",
        "read $x",
        "POSIXLY_CORRECT=1",
        "b & wait -n -p X",
        "b & wait $X",
        "[ $Y \"$X\" ]",
        "[ \"$Y\" \"$X\" ]",
        "[ \"$Y\" a ]",
        "[ a \"$Y\" b ]",
        "test $Y",
        "printf $Y x",
        "printf \"$Y\" x",
        "getopts a 'b[c]'",
        "a {c[X]}>f",
        "a {c}<f",
        "find . {-exec,rm,\\;}",
        "find . $X",
        "find \"$X\" rm {} \\;",
        "find . -exec a $X \\;",
        "find . -exec a \"$X\" -exec rm x \\;",
        "x+=1 b",
        "!(a)",
        "READNULLCMD=rm; <x",
        "ksh93 x",
        "exit 'a[$(rm x)]'",
    ] {
        assert!(read(text.as_bytes()).unparsed.is_some(), "{text}");
    }
    // And what people write goes on being read.
    for text in [
        "[ -n \"$x\" ] && [ \"$x\" = y ] && test ! -e \"$HOME/f\" || [ \"$x\" ]",
        "[ $# -gt 1 ] || [ \"$?\" -eq 0 ]",
        "find \"$HOME/src\" -name '*.c' -exec grep \"$x\" {} \\;",
        "find . -name *.c",
        "read -r -p 'name: ' x; read -rn 1; read a b",
        "export A=1 B=$x; unset A; declare -x C=2; local d",
        "env A=1 B=$x C=\"$y\" a; A=1 B='x y' a",
        "a & wait $!; wait; exit $x",
        "printf '%s\\n' \"$x\"; time a; nohup a",
    ] {
        assert_eq!(read(text.as_bytes()).unparsed, None, "{text}");
    }
}

#[test]
fn what_is_not_understood_is_said() {
    for text in
        ["if a; then b; fi", "for x in a; do b; done", "while a; do b; done", "[[ a ]]", "A=1 if"]
    {
        refuses(text, Why::Compound);
    }
    for text in ["f() { a; }", "a=(b)", "echo @(a|b)", "a (b)"] {
        refuses(text, Why::Parenthesis);
    }
    for text in ["echo $((1))", "((1))", "echo $[1]", "echo \"$((1))\""] {
        refuses(text, Why::Arithmetic);
    }
    for text in ["'a", "\"a", "a $(b", "a `b", "(a", "{ a;", "a ${x", "\"a\\"] {
        refuses(text, Why::Unclosed);
    }
    for text in ["a)", "; a", "a ;; b", "a | ; b", "}", "(a) b", "a >", "a > ;"] {
        refuses(text, Why::Syntax);
    }
    for text in ["$'a\\'; b #'", "{ a } ; b }", "echo $'\\x00'", "a `b # c`", "a >! b"] {
        refuses(text, Why::Differs);
    }
    for text in [
        ". x",
        "alias a=b",
        "trap 'a' 0",
        "declare -a 'x=($(a))'",
        "[ -v 'a[$(b)]' ]",
        "test 'a[$(b)]' -eq 0",
        "printf -v x y",
        "set -x",
        "export 'BASH_ENV=x'",
    ] {
        refuses(text, Why::Builtin);
    }
    reads(
        "set -euo pipefail; export A=1 B=$x; [ -n \"$(a)\" ]",
        &["set -euo pipefail", "export A=1 B=$x", "a", "[ -n \"$(a)\" ]"],
    );
    refuses("a\0b", Why::Nul);
    // What came before is told.
    assert_eq!(joined(&read(b"rm x; for")), ["rm x"]);
}

#[test]
fn bounds() {
    refuses(&"a".repeat(MAX_LINE_BYTES + 1), Why::TooLong);
    refuses(&"a;".repeat(MAX_COMMANDS + 1), Why::TooMany);
    assert_eq!(read("a;".repeat(MAX_COMMANDS).as_bytes()).unparsed, None);
    for open in ["( ", "{ ", "a $(", "a \"$(", "nohup ", "eval ", "sudo env "] {
        let why =
            read(open.repeat(MAX_LINE_BYTES / open.len()).as_bytes()).unparsed.map(|it| it.why);
        assert_eq!(why, Some(Why::TooDeep), "{open}");
    }
    let depth = usize::from(MAX_DEPTH);
    let nested = format!("{}b{}", "a $(".repeat(depth), ")".repeat(depth));
    assert_eq!(read(nested.as_bytes()).commands.len(), depth + 1);
    assert_eq!(read(nested.as_bytes()).unparsed, None);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_read_to_something_bounded(text in prop::collection::vec(any::<u8>(), 0..300)) {
        let line = read(&text);
        prop_assert!(line.commands.len() <= MAX_COMMANDS);
        prop_assert!(line.commands.iter().all(|it| it.depth <= MAX_DEPTH));
    }

    /// Quoting any value gives it back, whatever stands around it.
    #[test]
    fn quoted_values_come_back(values in prop::collection::vec("[ -~\n\t]{0,20}", 1..5)) {
        let mut text = String::from("x");
        for value in &values {
            text.push_str(&format!(" '{}'", value.replace('\'', "'\\''")));
        }
        let line = read(text.as_bytes());
        prop_assert_eq!(line.unparsed, None);
        let words: Vec<_> = line.commands[0].words[1..].iter().map(Word::plain).collect();
        let wanted: Vec<_> = values.iter().map(|it| Some(it.as_bytes())).collect();
        prop_assert_eq!(words, wanted);
    }
}
