//! Pure. The mail of a mailbox: made from its owner's name, the same at each start.

use serde::Serialize;
use sha2::{Digest, Sha256};

/// How many messages a mailbox holds.
const MESSAGES: usize = 6;

/// How many of them, from the top, nobody has read yet. Each mailbox has one more or one less than others.
const UNREAD: usize = 2;

/// How many colours the style sheet has for the senders' initials.
const HUES: usize = 6;

/// When the messages came, newest first. Words rather than dates, so that a page is the same tomorrow.
const WHEN: [&str; MESSAGES] = ["09:41", "08:15", "Yesterday", "Yesterday", "Monday", "Last week"];

/// One message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(in crate::demo) struct Message {
    /// Its place in the list, from one; part of its address.
    pub(in crate::demo) number: usize,
    /// Who wrote it.
    pub(in crate::demo) sender: &'static str,
    /// Where an answer goes.
    pub(in crate::demo) address: &'static str,
    /// The sender's initials.
    pub(in crate::demo) initials: String,
    /// Which of the style sheet's colours the sender has.
    pub(in crate::demo) hue: usize,
    /// What it is about.
    pub(in crate::demo) subject: &'static str,
    /// When it came.
    pub(in crate::demo) when: &'static str,
    /// Whether nobody has read it yet.
    pub(in crate::demo) unread: bool,
    /// The text, by paragraphs. The first one greets the owner.
    pub(in crate::demo) paragraphs: Vec<String>,
}

/// What a message is made from: sender, address, subject, paragraphs.
type Letter = (&'static str, &'static str, &'static str, [&'static str; 2]);

/// Every letter there is. One has a subject full of markup, which a page must show as it is written.
const LETTERS: [Letter; 10] = [
    (
        "Harbour Library",
        "desk@library.test",
        "Your book is ready to collect",
        [
            "“The Lighthouse Keepers” has come back and is waiting for you at the front desk.",
            "We keep it until Friday. The side entrance is open until eight in the evening.",
        ],
    ),
    (
        "Mira Novak",
        "mira@novak.test",
        "Walk on Sunday?",
        [
            "The forecast looks kind, so some of us take the path along the river, from the old mill to the ferry.",
            "We meet at ten by the bridge. Bring something warm to drink, and the dog if he is well again.",
        ],
    ),
    (
        "Olive Street Bakery",
        "hello@olivestreet.test",
        "Saturday’s order",
        [
            "Two rye loaves and a plum cake are set aside under your name.",
            "They come out of the oven at seven; after nine the cake will still be there, but no longer warm.",
        ],
    ),
    (
        "Tomás Ferreira",
        "tomas@ferreira.test",
        "Photographs from the lake",
        [
            "I have sorted them at last. The one with the rowing boat is my favourite, and you are in it.",
            "Tell me which of them you would like in print, and I will order them together.",
        ],
    ),
    (
        "Ada Lindqvist",
        "ada@lindqvist.test",
        "Re: <b>bold</b> ideas & why 3 < 5",
        [
            "My old mail program made that subject line fat. A good one shows you each letter as I typed it.",
            "Either way: the idea is sound, & I would like to hear the rest of it.",
        ],
    ),
    (
        "City Choir",
        "office@citychoir.test",
        "Rehearsal moved to Thursday",
        [
            "The hall is being painted, so we sing on Thursday at half past seven instead.",
            "Please bring the green folder. We begin with the second movement.",
        ],
    ),
    (
        "Noor Haddad",
        "noor@haddad.test",
        "Minutes of the garden meeting",
        [
            "Attached in spirit: three new beds, one new water butt, and no agreement about the compost.",
            "The next meeting is on the first of the month, in the shed if it rains.",
        ],
    ),
    (
        "Railway Post",
        "tickets@railway.test",
        "Your seat by the window",
        [
            "Coach 7, seat 42, facing forward. The train leaves from platform 3.",
            "The dining car serves breakfast until ten.",
        ],
    ),
    (
        "Jun Watanabe",
        "jun@watanabe.test",
        "Grüße from the orchard",
        [
            "The plum trees are in flower here, two weeks early. I thought of your kitchen window.",
            "We visit in May, if the offer of the spare room still stands.",
        ],
    ),
    (
        "The Night Watch",
        "cron@nightwatch.test",
        "All quiet",
        ["All jobs ran, all disks are well, and nobody had to get up.", "The next report comes at the same hour."],
    ),
];

/// The messages in the mailbox of `owner`, newest first.
pub(in crate::demo) fn messages(owner: &str) -> Vec<Message> {
    let seed = Sha256::digest(owner);
    let (start, unread) = (usize::from(seed[0]), UNREAD + usize::from(seed[1] % 3) - 1);
    let first_name = owner.split_whitespace().next().unwrap_or("you");
    // Three has no factor in common with ten, so that no letter comes twice.
    (0..MESSAGES)
        .map(|place| {
            let letter = (start + place * 3) % LETTERS.len();
            let (sender, address, subject, text) = LETTERS[letter];
            let mut paragraphs = vec![format!("Dear {first_name},")];
            paragraphs.extend(text.map(str::to_owned));
            Message {
                number: place + 1,
                sender,
                address,
                initials: initials(sender),
                hue: letter % HUES,
                subject,
                when: WHEN[place],
                unread: place < unread,
                paragraphs,
            }
        })
        .collect()
}

/// The first letters of the first and the last word.
pub(super) fn initials(name: &str) -> String {
    let mut words = name.split_whitespace().filter_map(|word| word.chars().next());
    let first = words.next();
    first.into_iter().chain(words.next_back()).flat_map(char::to_uppercase).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mailbox_holds_the_same_mail_each_time() {
        for owner in ["Alice Archer", "Zoë Öztürk", "Bob Bennett", ""] {
            let mail = messages(owner);
            assert_eq!(mail, messages(owner));
            assert_eq!(mail.len(), MESSAGES);
            let unread = mail.iter().filter(|message| message.unread).count();
            assert!((1..=3).contains(&unread), "{owner} has {unread} unread");
            let mut subjects: Vec<_> = mail.iter().map(|message| message.subject).collect();
            subjects.sort_unstable();
            subjects.dedup();
            assert_eq!(subjects.len(), MESSAGES, "{owner}");
        }
        assert_ne!(messages("Alice Archer"), messages("Bob Bennett"));
    }

    #[test]
    fn initials_are_of_the_first_and_last_name() {
        for (name, expected) in [("Zoë Öztürk", "ZÖ"), ("ada de la cruz", "AC"), ("Madonna", "M"), ("", "")] {
            assert_eq!(initials(name), expected, "{name}");
        }
    }
}
