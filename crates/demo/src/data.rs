//! Made-up customers. No number here belongs to anybody: the cards are made of a bank number
//! that no bank has, the telephone numbers are of the block that is kept for fiction, the
//! mailboxes are under example.com (RFC 2606).

use std::fmt::Write as _;

/// Names of the customers.
const NAMES: [&str; 8] = [
    "Ada Winter",
    "Bela Okafor",
    "Carla Jensen",
    "Dmitri Sato",
    "Esra Lindqvist",
    "Femi Castellano",
    "Grete Moreau",
    "Hari Novak",
];
/// What they ordered, and its price in cents.
const ITEMS: [(&str, u32); 5] = [
    ("fountain pen", 4_900),
    ("ledger, 200 pages", 2_150),
    ("sealing wax", 780),
    ("reading lamp", 6_400),
    ("ink, black", 1_250),
];

/// A made-up person.
#[derive(Debug, Clone)]
pub(crate) struct Customer {
    pub(crate) id: u32,
    pub(crate) name: &'static str,
    pub(crate) email: String,
    pub(crate) card: String,
    pub(crate) phone: String,
}

/// Everybody.
pub(crate) fn customers() -> Vec<Customer> {
    let person = |(id, name): (u32, &'static str)| Customer {
        id,
        name,
        email: format!("{}@example.com", name.to_ascii_lowercase().replace(' ', ".")),
        card: card(id),
        phone: format!("+1 202-555-01{:02}", 20 + id),
    };
    (1..).zip(NAMES).map(person).collect()
}

/// A card number that passes Luhn's check, in groups of four.
fn card(id: u32) -> String {
    let digits = format!("4000{:011}", u64::from(id) * 7_919_993);
    // Luhn: every second digit from the right, the check digit not counted, is doubled.
    let sum: u32 = digits
        .bytes()
        .rev()
        .enumerate()
        .map(|(place, byte)| {
            let digit = u32::from(byte - b'0');
            let doubled = if place % 2 == 0 { digit * 2 } else { digit };
            doubled / 10 + doubled % 10
        })
        .sum();
    let whole = format!("{digits}{}", (10 - sum % 10) % 10);
    let groups = whole.as_bytes().chunks(4).map(String::from_utf8_lossy);
    groups.collect::<Vec<_>>().join(" ")
}

/// SQL that makes the tables below `prefix` (`""`, or `schema.`) and fills them.
pub(crate) fn seed(prefix: &str, integer: &str) -> String {
    let mut sql = format!(
        "CREATE TABLE {prefix}customers (id {integer} PRIMARY KEY, name TEXT, email TEXT, \
         card TEXT, phone TEXT);\n\
         CREATE TABLE {prefix}orders (id {integer} PRIMARY KEY, customer_id {integer}, \
         item TEXT, cents {integer}, status TEXT);\n"
    );
    let mut order = 0;
    for person in customers() {
        let Customer { id, name, email, card, phone } = person;
        let _infallible = writeln!(
            sql,
            "INSERT INTO {prefix}customers VALUES ({id}, '{name}', '{email}', '{card}', '{phone}');"
        );
        for (item, cents) in ITEMS.iter().cycle().skip(id as usize).take(2) {
            order += 1;
            let _infallible = writeln!(
                sql,
                "INSERT INTO {prefix}orders VALUES ({order}, {id}, '{item}', {cents}, 'open');"
            );
        }
    }
    sql
}

/// How many orders [`seed`] makes.
pub(crate) fn orders() -> usize {
    NAMES.len() * 2
}

#[cfg(test)]
mod tests {
    use super::*;
    use masking::{Config, OperatorConfig, Outcome, Policy, Receipt, RuleConfig, Sink};

    #[test]
    fn what_is_made_up_is_found() {
        let config = Config {
            rules: vec![RuleConfig {
                entity: vec!["CREDIT_CARD".into(), "EMAIL_ADDRESS".into(), "PHONE_NUMBER".into()],
                client: Some(OperatorConfig::named("redact")),
                ..RuleConfig::default()
            }],
            ..Config::default()
        };
        let policy = Policy::compile(&config, None).unwrap();
        for customer in customers() {
            for value in [customer.card, customer.email, customer.phone] {
                let mut out = Vec::new();
                let outcome =
                    policy.mask_text(Sink::Client, value.as_bytes(), &mut out, &mut Receipt::new());
                assert_eq!(outcome, Outcome::Replaced, "{value}");
                assert!(out.is_empty(), "{value}");
            }
        }
    }
}
