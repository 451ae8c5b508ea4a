/* policy.c: how a login is checked, by the domain of the user's name.
 *
 * The domains lie in a hash table that `configure` fills, since a login starts a fresh instance: what counts is how
 * quickly the settings are taken.
 */
#include "doorward.h"
#include "json.h"

/* A domain name has so many bytes at most (RFC 1035, section 2.3.4). */
#define DOMAIN_SIZE 253
/* A text in an answer may be so long. */
#define TEXT_SIZE 1024

typedef struct {
    dw_text domain;
    dw_mode mode;
} entry;

static struct {
    entry *entries;
    size_t slots; /* A power of two, more than twice the entries. */
    dw_mode otherwise;
} settings;

static uint32_t hash(dw_text text) {
    uint32_t value = 2166136261u; /* FNV-1a */
    for (size_t i = 0; i < text.size; i++) value = (value ^ (unsigned char)text.at[i]) * 16777619u;
    return value;
}

/* The place of a domain: its own, or the free one where it belongs. */
static entry *slot(dw_text domain) {
    for (size_t at = hash(domain);; at++) {
        entry *found = &settings.entries[at & (settings.slots - 1)];
        if (!found->domain.at || dw_same(found->domain, domain)) return found;
    }
}

static void make_table(size_t entries) {
    settings.slots = 4;
    while (settings.slots < entries * 2 + 2) settings.slots *= 2;
    settings.entries = dw_alloc(settings.slots * sizeof(entry));
    memset(settings.entries, 0, settings.slots * sizeof(entry));
}

/* A name as it is compared: in lower case, without the dot of the root. */
static dw_text plain(dw_text domain) {
    if (domain.size && domain.at[domain.size - 1] == '.') domain.size--;
    return dw_lower(domain);
}

static bool is_domain(dw_text text) {
    if (!text.size || text.size > DOMAIN_SIZE || text.at[0] == '.') return false;
    for (size_t i = 0; i < text.size; i++) {
        unsigned char byte = (unsigned char)text.at[i];
        if (byte <= ' ' || byte == '@' || byte == 0x7f || byte == '*') return false;
        if (byte == '.' && i + 1 < text.size && text.at[i + 1] == '.') return false;
    }
    return true;
}

static dw_mode mode_of(json_reader *in, dw_text path) {
    if (json_next(in) != '"') {
        dw_problem(path, DW_JOIN(DW_TEXT("found "), json_kind(in), DW_TEXT(", expected a text that names a mode")));
        json_skip(in, 0);
        return dw_no_opinion();
    }
    dw_text text = json_text(in);
    if (dw_same(text, DW_TEXT("ldap-bind"))) return dw_ldap_bind();
    if (dw_same(text, DW_TEXT("ldap-password"))) return dw_ldap_password();
    if (dw_same(text, DW_TEXT("back-end"))) return dw_back_end();
    if (dw_same(text, DW_TEXT("none"))) return dw_no_opinion();
    dw_text refuse = DW("refuse:");
    if (dw_starts_with(text, refuse)) {
        dw_text why = dw_part(text, refuse.size, text.size);
        if (why.size && why.size <= TEXT_SIZE) return dw_refuse(why);
        dw_problem(path, DW_TEXT("found a refusal with no text or a long one, expected 1 to 1024 bytes after \"refuse:\""));
    } else {
        dw_problem(path, DW_JOIN(DW_TEXT("found \""), dw_cut(text, 64),
                                 DW_TEXT("\", expected \"ldap-bind\", \"ldap-password\", \"back-end\", \"none\" or "
                                         "\"refuse:TEXT\"")));
    }
    return dw_no_opinion();
}

/* How many texts could be keys in there; more than are does no harm. */
static size_t colons(dw_text text) {
    size_t count = 0;
    for (size_t i = 0; i < text.size; i++) count += text.at[i] == ':';
    return count;
}

static void read_domains(json_reader *in) {
    if (json_next(in) != '{') {
        dw_problem(DW_TEXT("domains"), DW_JOIN(DW_TEXT("found "), json_kind(in), DW_TEXT(", expected a table")));
        json_skip(in, 0);
        return;
    }
    json_expect(in, '{');
    if (json_take(in, '}')) return;
    do {
        dw_text key = json_text(in);
        json_expect(in, ':');
        if (in->broken) return;
        dw_text path = DW_JOIN(DW_TEXT("domains.\""), dw_cut(key, DOMAIN_SIZE), DW_TEXT("\""));
        dw_mode mode = mode_of(in, path);
        dw_text domain = plain(key);
        if (!is_domain(domain)) {
            dw_problem(path, DW_TEXT("found no domain name, expected one such as \"example.com\""));
            continue;
        }
        entry *place = slot(domain);
        if (place->domain.at) {
            dw_problem(path, DW_TEXT("found a domain that is there already, in other letters, expected it once"));
        } else {
            *place = (entry){ domain, mode };
        }
    } while (json_take(in, ','));
    json_expect(in, '}');
}

static void read_settings(json_reader *in) {
    bool domains = false;
    json_expect(in, '{');
    if (!json_take(in, '}')) {
        do {
            dw_text key = json_text(in);
            json_expect(in, ':');
            if (in->broken) return;
            if (dw_same(key, DW_TEXT("domains"))) {
                domains = true;
                read_domains(in);
            } else if (dw_same(key, DW_TEXT("default"))) {
                settings.otherwise = mode_of(in, key);
            } else {
                dw_problem(key, DW_TEXT("found an unknown key, expected \"domains\" or \"default\""));
                json_skip(in, 0);
            }
        } while (json_take(in, ','));
        json_expect(in, '}');
    }
    if (json_next(in)) json_break(in);
    if (!domains && !in->broken) dw_problem(DW_TEXT("domains"), DW_TEXT("found nothing, expected a table"));
}

void configure(dw_text text) {
    json_reader in = { .text = text };
    settings.otherwise = dw_no_opinion();
    make_table(colons(text));
    read_settings(&in);
    if (in.broken) dw_problem(DW_TEXT(""), DW_TEXT("found something that is no JSON, expected a table"));
}

dw_mode decide(void) {
    dw_text name = dw_username();
    /* The last one: before it there may be others, in quotes (RFC 5321, section 4.1.2). */
    size_t at = dw_last(name, '@');
    if (at == name.size) return settings.otherwise;
    dw_text domain = dw_part(name, at + 1, name.size);
    /* One more for the dot of the root. */
    if (domain.size > DOMAIN_SIZE + 1) return settings.otherwise;
    domain = plain(domain);
    entry *found = slot(domain);
    return found->domain.at ? found->mode : settings.otherwise;
}

dw_text schema(void) {
    return DW_TEXT(
        "{\"$schema\":\"https://json-schema.org/draft/2020-12/schema\",\"title\":\"login-by-domain\",\"type\":\"object\","
        "\"properties\":{\"domains\":{\"description\":\"How logins are checked, by the domain of the user's name.\","
        "\"type\":\"object\",\"propertyNames\":{\"minLength\":1,\"maxLength\":254},"
        "\"additionalProperties\":{\"$ref\":\"#/$defs/mode\"}},"
        "\"default\":{\"description\":\"For all other names.\",\"$ref\":\"#/$defs/mode\",\"default\":\"none\"}},"
        "\"required\":[\"domains\"],\"additionalProperties\":false,"
        "\"$defs\":{\"mode\":{\"type\":\"string\",\"pattern\":\"^(ldap-bind|ldap-password|back-end|none|refuse:.+)$\"}}}");
}
