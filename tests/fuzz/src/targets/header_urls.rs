//! Places of URLs in headers.

use doorward_wire::header_url::{of_links, of_refresh};

/// Places lie in the value, one behind the other, and what was found is found again where another URL is put in its place.
pub(super) fn header_urls(data: &[u8]) {
    let links = of_links(data);
    let mut end = 0;
    for link in &links {
        assert!(end < link.start && link.start <= link.end && link.end < data.len(), "{link:?}");
        assert_eq!((data[link.start - 1], data[link.end]), (b'<', b'>'));
        assert!(!data[link.clone()].contains(&b'>'));
        end = link.end;
    }
    let other: Vec<u8> = links.iter().rev().fold(data.to_vec(), |mut value, link| {
        value.splice(link.clone(), *b"/other");
        value
    });
    let found: Vec<_> = of_links(&other).into_iter().map(|link| &other[link]).collect();
    assert_eq!(found, vec![&b"/other"[..]; links.len()]);
    if let Some(place) = of_refresh(data) {
        assert!(place.start < place.end && place.end <= data.len(), "{place:?}");
        let mut other = data.to_vec();
        other.splice(place.clone(), *b"/other");
        let again = of_refresh(&other).map(|place| &other[place]);
        assert_eq!(again, Some(&b"/other"[..]), "{:?}", String::from_utf8_lossy(data));
    }
}
