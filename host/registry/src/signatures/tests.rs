//! Signatures of both forms: good ones, and each way of not being one.

use super::*;
use crate::PrivateKey;

/// Made with `openssl genpkey`, for these tests only.
const P256: &str = include_str!("p256.pem");
const EDWARDS: &str = include_str!("ed25519.pem");

fn key(pem: &str) -> PrivateKey {
    let file = std::env::temp_dir().join(format!(
        "doorward-registry-{}-{}",
        std::process::id(),
        Digest::of(pem.as_bytes()).hex()
    ));
    std::fs::write(&file, pem).unwrap();
    let key = PrivateKey::read(&file).unwrap();
    std::fs::remove_file(&file).unwrap();
    key
}

fn trusted(name: &str, key: &PrivateKey) -> TrustedKey {
    TrustedKey { name: name.to_owned(), key: key.public() }
}

fn signed(form: SignatureForm, payload: &[u8], key: &PrivateKey) -> Signature {
    let message = if form == SignatureForm::Simple { payload.to_vec() } else { before_signing(payload) };
    let (payload, signature) = (STANDARD.encode(payload), STANDARD.encode(key.sign(&message).unwrap()));
    Signature { form, payload, signature, place: "here".to_owned() }
}

fn statement(manifest: &Digest, more: Json) -> Vec<u8> {
    let mut subject = json!({"digest": {"sha256": manifest.hex()}});
    subject.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let said = json!({
        "_type": "https://in-toto.io/Statement/v1", "subject": [subject],
        "predicateType": "https://sigstore.dev/cosign/sign/v1", "predicate": {},
    });
    said.to_string().into_bytes()
}

#[test]
fn a_signature_counts_for_its_key_its_manifest_and_its_repository() {
    let (one, other) = (key(P256), key(EDWARDS));
    let (keys, manifest) = ([trusted("one", &one), trusted("other", &other)], Digest::of(b"manifest"));
    let here = "r.test/mail/access";
    let by = |signatures: &[Signature]| verify(signatures, &keys, &manifest, here);
    for form in [SignatureForm::Simple, SignatureForm::Statement] {
        let said = |manifest: &Digest, repository: &str| match form {
            SignatureForm::Simple => payload_of(manifest, repository),
            SignatureForm::Statement => statement(manifest, json!({"name": repository})),
        };
        let good = signed(form, &said(&manifest, here), &one);
        let second = signed(form, &said(&manifest, &format!("{here}:1.4")), &other);
        assert_eq!(by(&[good.clone(), good.clone()]).by.len(), 1, "twice the same is once");
        assert_eq!(by(&[good.clone(), second]).by.len(), 2);
        let mut changed = good.clone();
        changed.payload = STANDARD.encode(said(&manifest, "r.test/mail/other"));
        let foreign = verify(&[good], &keys[1..], &manifest, here);
        for (verdict, told) in [
            (by(&[signed(form, &said(&Digest::of(b"x"), here), &one)]), "one by one is for sha256:"),
            (
                by(&[signed(form, &said(&manifest, "r.test/mail/other"), &one)]),
                "one by one is for the repository r.test/mail/other",
            ),
            (by(&[signed(form, &said(&manifest, ""), &one)]), "one by one says no repository"),
            (by(&[changed]), "one is of no key that is listed"),
            (foreign, "one is of no key that is listed"),
            (by(&[]), "it is not signed"),
        ] {
            assert!(verdict.by.is_empty() && verdict.lack(1).contains(told), "{told}: {}", verdict.lack(1));
        }
    }
    let annotated = statement(&manifest, json!({"annotations": {"repository": here}}));
    assert_eq!(by(&[signed(SignatureForm::Statement, &annotated, &one)]).by.len(), 1);
    let about = |predicate: &str| {
        let mut said: Json = serde_json::from_slice(&statement(&manifest, json!({"name": here}))).unwrap();
        said["predicateType"] = predicate.into();
        by(&[signed(SignatureForm::Statement, said.to_string().as_bytes(), &one)])
    };
    assert_eq!(about(SIGNS).by.len(), 1);
    for other in ["https://spdx.dev/Document", "https://cosign.sigstore.dev/attestation/vuln/v1", ""] {
        let verdict = about(other);
        assert!(verdict.by.is_empty() && verdict.lack(1).contains("does not sign it"), "{other}: {}", verdict.lack(1));
    }
    let one_of_two = by(&[signed(SignatureForm::Simple, &payload_of(&manifest, here), &one)]);
    assert_eq!(one_of_two.lack(2), "signed by one only, and 2 must have signed");
}

/// What `openssl dgst -sha256 -sign` and `openssl pkeyutl -sign -rawin` made of the same bytes: nothing of ours signed it.
#[test]
fn signatures_of_openssl_are_good() {
    let payload = include_bytes!("payload.json");
    let manifest = Digest::parse("sha256:0a0b0c0d0a0b0c0d0a0b0c0d0a0b0c0d0a0b0c0d0a0b0c0d0a0b0c0d0a0b0c0d").unwrap();
    let found = |signature: &str| Signature {
        form: SignatureForm::Simple,
        payload: STANDARD.encode(payload),
        signature: signature.trim().to_owned(),
        place: "here".to_owned(),
    };
    let public =
        |name: &str, pem: &str| TrustedKey { name: name.to_owned(), key: PublicKey::parse(pem.as_bytes()).unwrap() };
    let keys = [public("p256", include_str!("p256.pub")), public("ed25519", include_str!("ed25519.pub"))];
    let signatures = [found(include_str!("p256.sig")), found(include_str!("ed25519.sig"))];
    let verdict = verify(&signatures, &keys, &manifest, "registry.example.com/mail/access");
    assert_eq!(verdict.by.len(), 2, "{}", verdict.lack(2));
}

#[test]
fn so_many_signatures_are_kept_each_once_and_no_long_statement() {
    let of = |payload: &str, signatures: usize| {
        let signatures: Vec<Json> = (0..signatures).map(|at| json!({"sig": at.to_string()})).collect();
        json!({"payload": payload, "payloadType": STATEMENT_TYPE, "signatures": signatures})
    };
    let mut found = Found::default();
    for _ in 0..2 {
        of_envelope(&of("AAAA", 3)).for_each(|signature| found.add(signature));
    }
    assert_eq!(found.signatures.len(), 3);
    for payload in 0..MOST {
        of_envelope(&of(&payload.to_string(), 2 * MOST)).for_each(|signature| found.add(signature));
    }
    assert_eq!(found.signatures.len(), MOST);
    assert!(!found.asks(&Digest::of(b"more")), "nothing more is asked for");
    assert_eq!(of_envelope(&of(&"A".repeat(2 * PAYLOAD_SIZE), 1)).count(), 0);
}
