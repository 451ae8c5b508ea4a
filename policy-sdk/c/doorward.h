/* doorward.h: what a policy in C needs, and all that it has; there is no C library.
 *
 * `doorward policy build` puts this file on the include path. A policy is one source file that includes it once and
 * defines three functions:
 *
 *     dw_text schema(void);             the JSON Schema of its settings
 *     void configure(dw_text settings); takes them, or calls dw_problem for each thing that is wrong
 *     ... check(void);                  the question of policy.toml; see the end of this file
 *
 * Invariants:
 * - Texts of facts and what dw_alloc gives live until the next question; those that `configure` made live on.
 * - Structs are laid out as the canonical ABI wants them, so they are handed over as they are.
 */
#ifndef DOORWARD_H
#define DOORWARD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DOORWARD_VERSION "0.1.1"

#define DW_IMPORT(interface, name) \
    __attribute__((import_module("doorward:policy/" interface "@" DOORWARD_VERSION), import_name(name))) extern
#define DW_EXPORT(interface, name) \
    __attribute__((export_name("doorward:policy/" interface "@" DOORWARD_VERSION "#" name), used))
#define DW_UNUSED __attribute__((unused)) static

/* ---- Texts ---------------------------------------------------------------------------------------------------- */

/* UTF-8, without a zero at its end. */
typedef struct {
    const char *at;
    size_t size;
} dw_text;

/* A text that may not be there. */
typedef struct {
    bool some;
    dw_text text;
} dw_maybe;

/* Texts, as of an attribute. */
typedef struct {
    const dw_text *at;
    size_t count;
} dw_texts;

/* The text of a literal, also where only constants may stand. */
#define DW(literal) { "" literal, sizeof(literal) - 1 }
#define DW_TEXT(literal) ((dw_text)DW(literal))

/* ---- Memory --------------------------------------------------------------------------------------------------- */

/* Called by the compiler itself, besides by you. */
void *memcpy(void *restrict to, const void *restrict from, size_t size) {
    char *out = to;
    const char *in = from;
    while (size--) *out++ = *in++;
    return to;
}
void *memmove(void *to, const void *from, size_t size) {
    char *out = to;
    const char *in = from;
    if (out <= in) {
        while (size--) *out++ = *in++;
    } else {
        while (size--) out[size] = in[size];
    }
    return to;
}
void *memset(void *to, int byte, size_t size) {
    char *out = to;
    while (size--) *out++ = (char)byte;
    return to;
}
int memcmp(const void *left, const void *right, size_t size) {
    const unsigned char *a = left, *b = right;
    for (size_t i = 0; i < size; i++) {
        if (a[i] != b[i]) return a[i] < b[i] ? -1 : 1;
    }
    return 0;
}

/* Where the linker's data ends. */
extern unsigned char __heap_base;

/* Memory is handed out upwards. Each question begins again above what `configure` left. */
static size_t dw_top, dw_floor;

/* Memory that is not cleared. There is always some: a policy that is over its cap is stopped. */
static void *dw_alloc_aligned(size_t size, size_t align) {
    if (!dw_top) dw_top = (size_t)&__heap_base;
    size_t at = (dw_top + align - 1) & ~(align - 1);
    size_t end = at + size;
    if (at < dw_top || end < at) __builtin_trap();
    size_t have = __builtin_wasm_memory_size(0);
    size_t need = end / 65536 + (end % 65536 != 0);
    if (need > have && __builtin_wasm_memory_grow(0, need - have) == (size_t)-1) __builtin_trap();
    dw_top = end;
    return (void *)at;
}
DW_UNUSED void *dw_alloc(size_t size) { return dw_alloc_aligned(size, 8); }

/* By which the host hands over texts. */
__attribute__((export_name("cabi_realloc"), used)) void *dw_realloc(void *old, size_t old_size, size_t align, size_t size) {
    void *fresh = dw_alloc_aligned(size, align);
    if (old_size) memcpy(fresh, old, old_size < size ? old_size : size);
    return fresh;
}

/* ---- Work on texts -------------------------------------------------------------------------------------------- */

DW_UNUSED bool dw_same(dw_text a, dw_text b) { return a.size == b.size && !memcmp(a.at, b.at, a.size); }

DW_UNUSED bool dw_starts_with(dw_text text, dw_text start) {
    return text.size >= start.size && !memcmp(text.at, start.at, start.size);
}

/* The part of a text from one place up to another. */
DW_UNUSED dw_text dw_part(dw_text text, size_t from, size_t to) {
    if (to > text.size) to = text.size;
    if (from > to) from = to;
    return (dw_text){ text.at + from, to - from };
}

/* The start of a text, of so many bytes at most; no character is cut in two. */
DW_UNUSED dw_text dw_cut(dw_text text, size_t most) {
    if (text.size <= most) return text;
    while (most && ((unsigned char)text.at[most] & 0xc0) == 0x80) most--;
    return (dw_text){ text.at, most };
}

/* Where a byte is, for the last time; `size` if it is nowhere. */
DW_UNUSED size_t dw_last(dw_text text, char byte) {
    for (size_t i = text.size; i--;) {
        if (text.at[i] == byte) return i;
    }
    return text.size;
}

/* A copy with the letters A to Z in lower case; other letters are left. */
DW_UNUSED dw_text dw_lower(dw_text text) {
    char *copy = dw_alloc(text.size);
    for (size_t i = 0; i < text.size; i++) {
        char byte = text.at[i];
        copy[i] = byte >= 'A' && byte <= 'Z' ? (char)(byte + 32) : byte;
    }
    return (dw_text){ copy, text.size };
}

/* One text of several. */
DW_UNUSED dw_text dw_join(const dw_text *parts, size_t count) {
    size_t size = 0, at = 0;
    for (size_t i = 0; i < count; i++) size += parts[i].size;
    char *all = dw_alloc(size);
    for (size_t i = 0; i < count; at += parts[i++].size) memcpy(all + at, parts[i].at, parts[i].size);
    return (dw_text){ all, size };
}
#define DW_JOIN(...) \
    dw_join((const dw_text[]){ __VA_ARGS__ }, sizeof((const dw_text[]){ __VA_ARGS__ }) / sizeof(dw_text))

/* ---- The log -------------------------------------------------------------------------------------------------- */

typedef enum { DW_DEBUG, DW_INFO, DW_WARN, DW_ERROR } dw_level;

DW_IMPORT("log", "write") void dw_import_log(int32_t level, const char *at, size_t size);
DW_UNUSED void dw_log(dw_level level, dw_text message) { dw_import_log(level, message.at, message.size); }

/* ---- Facts: what is not called is not imported; see wit/ for what they mean ------------------------------------ */

#define DW_FACT_TEXT(function, interface, name)                                \
    DW_IMPORT(interface, name) void dw_import_##function(dw_text *);           \
    DW_UNUSED dw_text dw_##function(void) {                                    \
        dw_text answer;                                                        \
        dw_import_##function(&answer);                                         \
        return answer;                                                         \
    }
#define DW_FACT_MAYBE(function, interface, name)                               \
    DW_IMPORT(interface, name) void dw_import_##function(dw_maybe *);          \
    DW_UNUSED dw_maybe dw_##function(void) {                                   \
        dw_maybe answer;                                                       \
        dw_import_##function(&answer);                                         \
        return answer;                                                         \
    }
#define DW_FACT_NAMED(kind, function, interface, name)                         \
    DW_IMPORT(interface, name) void dw_import_##function(const char *, size_t, kind *); \
    DW_UNUSED kind dw_##function(dw_text of) {                                 \
        kind answer;                                                           \
        dw_import_##function(of.at, of.size, &answer);                         \
        return answer;                                                         \
    }

#define DW_FACT_COUNT(function, interface, name)                               \
    DW_IMPORT(interface, name) uint32_t dw_import_##function(const char *, size_t); \
    DW_UNUSED uint32_t dw_##function(dw_text of) { return dw_import_##function(of.at, of.size); }

/* Every question. The time: a decision that read it is not remembered. */
DW_IMPORT("clock", "now") uint64_t dw_now(void);
/* The date, day of the week and hour at an offset such as "+01:00": found again until they change. */
DW_FACT_NAMED(dw_text, date, "clock", "date")
DW_FACT_COUNT(weekday, "clock", "weekday")
DW_FACT_COUNT(hour, "clock", "hour")
/* Whether a list of the operator's has a value. */
DW_IMPORT("lists", "list-contains") bool dw_import_list_contains(const char *, size_t, const char *, size_t);
DW_UNUSED bool dw_list_contains(dw_text name, dw_text value) {
    return dw_import_list_contains(name.at, name.size, value.at, value.size);
}
DW_FACT_TEXT(client_address, "connection", "client-address")
DW_IMPORT("connection", "client-port") uint32_t dw_client_port(void);
DW_FACT_TEXT(listener, "connection", "listener")
DW_FACT_TEXT(local_address, "connection", "local-address")
DW_FACT_MAYBE(tls_server_name, "connection", "tls-server-name")
DW_FACT_MAYBE(tls_client_subject, "connection", "tls-client-subject")

#if !defined(DOORWARD_ACCESS)
DW_FACT_TEXT(method, "request", "method")
DW_FACT_TEXT(scheme, "request", "scheme")
DW_FACT_TEXT(host, "request", "host")
DW_FACT_TEXT(path, "request", "path")
DW_FACT_TEXT(target, "request", "target")
DW_FACT_TEXT(http_version, "request", "http-version")
DW_FACT_NAMED(dw_maybe, query, "request", "query")
DW_FACT_NAMED(dw_maybe, header, "request", "header")
DW_FACT_NAMED(dw_maybe, cookie, "request", "cookie")
#endif

#if defined(DOORWARD_FILTER)
DW_FACT_MAYBE(session_user, "session", "session-user")
DW_FACT_MAYBE(session_node, "session", "session-node")
DW_FACT_MAYBE(session_site, "session", "session-site")
/* Steps, as in wit/: "3600 86400"; "minute 10 100". */
DW_FACT_COUNT(session_age, "session", "session-age")
DW_FACT_COUNT(requests_of_session, "usage", "requests-of-session")
DW_FACT_COUNT(requests_of_address, "usage", "requests-of-address")
DW_FACT_COUNT(requests_for_path, "usage", "requests-for-path")
#endif

#if defined(DOORWARD_AUTH_MODE) || defined(DOORWARD_ROUTE)
DW_FACT_TEXT(username, "login", "username")
DW_IMPORT("login", "known") bool dw_known(void);
DW_FACT_NAMED(dw_texts, attribute, "login", "attribute")
DW_IMPORT("login", "recent-failures-from-address") uint32_t dw_recent_failures_from_address(void);
DW_IMPORT("login", "recent-failures-for-user") uint32_t dw_recent_failures_for_user(void);
#endif

#if defined(DOORWARD_ROUTE)
DW_IMPORT("nodes", "directory-hosts") void dw_import_directory_hosts(dw_texts *);
DW_UNUSED dw_texts dw_directory_hosts(void) {
    dw_texts answer;
    dw_import_directory_hosts(&answer);
    return answer;
}
DW_FACT_MAYBE(usual_node, "nodes", "usual-node")
DW_FACT_NAMED(dw_maybe, node_state, "nodes", "node-state")
DW_FACT_NAMED(dw_maybe, node_load, "nodes", "node-load")
#endif

/* ---- Settings ------------------------------------------------------------------------------------------------- */

dw_text schema(void);
void configure(dw_text settings);

typedef struct {
    dw_text path;
    dw_text message;
} dw_one_problem;

/* An operator mends so many at once, and then asks again. */
#define DW_PROBLEMS 32
static dw_one_problem dw_problems[DW_PROBLEMS];
static size_t dw_problem_count;

/* Says what is wrong in the settings, and where. Both texts must live on: literals, or memory of dw_alloc. */
DW_UNUSED void dw_problem(dw_text path, dw_text message) {
    if (dw_problem_count < DW_PROBLEMS) dw_problems[dw_problem_count++] = (dw_one_problem){ path, message };
}

DW_EXPORT("settings", "schema") const dw_text *dw_export_schema(void) {
    static dw_text answer;
    answer = schema();
    return &answer;
}

DW_EXPORT("settings", "configure") const void *dw_export_configure(char *at, size_t size) {
    static struct {
        bool wrong;
        const dw_one_problem *at;
        size_t count;
    } answer;
    /* The host has put the settings above all else; if they are not the first, those before them are of no use now. */
    char *base = (char *)&__heap_base;
    memmove(base, at, size);
    dw_top = (size_t)base + size;
    dw_problem_count = 0;
    configure((dw_text){ base, size });
    dw_floor = dw_top;
    answer.wrong = dw_problem_count > 0;
    answer.at = dw_problems;
    answer.count = dw_problem_count;
    return &answer;
}

/* Each question begins with the memory that `configure` left. */
static void dw_begin(void) { dw_top = dw_floor; }

/* ---- The question --------------------------------------------------------------------------------------------- */

#if defined(DOORWARD_ACCESS)

typedef struct {
    uint8_t kind;
    union {
        dw_maybe class;
        dw_text reason;
    };
} dw_verdict;

DW_UNUSED dw_verdict dw_allow(void) { return (dw_verdict){ .kind = 0 }; }
DW_UNUSED dw_verdict dw_allow_class(dw_text class) { return (dw_verdict){ .kind = 0, .class = { true, class } }; }
DW_UNUSED dw_verdict dw_deny(dw_text reason) { return (dw_verdict){ .kind = 1, .reason = reason }; }
DW_UNUSED dw_verdict dw_abstain(void) { return (dw_verdict){ .kind = 2 }; }

dw_verdict check(void);

DW_EXPORT("access", "check") const dw_verdict *dw_export_check(void) {
    static dw_verdict answer;
    dw_begin();
    answer = check();
    return &answer;
}

#elif defined(DOORWARD_DEVICE)

typedef enum { DW_DESKTOP, DW_MOBILE, DW_TABLET, DW_BOT, DW_NO_OPINION } dw_form;

dw_form classify(void);

DW_EXPORT("device", "classify") const uint8_t *dw_export_classify(void) {
    static uint8_t answer[2];
    dw_begin();
    dw_form form = classify();
    answer[0] = form != DW_NO_OPINION;
    answer[1] = answer[0] ? (uint8_t)form : 0;
    return answer;
}

#elif defined(DOORWARD_TEMPLATE)

typedef enum { DW_DESKTOP, DW_MOBILE, DW_TABLET, DW_BOT } dw_form;

/* A name, or { false } for no opinion. */
dw_maybe select(dw_form form);

DW_EXPORT("template", "select") const dw_maybe *dw_export_select(int32_t form) {
    static dw_maybe answer;
    dw_begin();
    answer = select((dw_form)form);
    return &answer;
}

#elif defined(DOORWARD_AUTH_MODE)

typedef struct {
    bool some;
    struct {
        uint8_t kind;
        dw_text text;
    } mode;
} dw_mode;

DW_UNUSED dw_mode dw_ldap_bind(void) { return (dw_mode){ .some = true, .mode = { .kind = 0 } }; }
DW_UNUSED dw_mode dw_ldap_password(void) { return (dw_mode){ .some = true, .mode = { .kind = 1 } }; }
DW_UNUSED dw_mode dw_back_end(void) { return (dw_mode){ .some = true, .mode = { .kind = 2 } }; }
DW_UNUSED dw_mode dw_refuse(dw_text text) { return (dw_mode){ .some = true, .mode = { 3, text } }; }
DW_UNUSED dw_mode dw_no_opinion(void) { return (dw_mode){ .some = false }; }

dw_mode decide(void);

DW_EXPORT("auth-mode", "decide") const dw_mode *dw_export_decide(void) {
    static dw_mode answer;
    dw_begin();
    answer = decide();
    return &answer;
}

#elif defined(DOORWARD_FILTER)

typedef struct {
    dw_text name;
    dw_text value;
} dw_header_line;

typedef struct {
    const dw_header_line *at;
    size_t count;
} dw_header_lines;

typedef struct {
    uint8_t kind;
    union {
        dw_header_lines set;
        dw_text redirect;
        struct {
            uint16_t status;
            dw_header_lines headers;
            dw_text body;
        } answer;
        struct {
            dw_header_lines request;
            dw_header_lines response;
        } both;
        struct {
            dw_text name;
            uint16_t status;
            dw_text title;
            dw_text text;
            dw_header_lines headers;
        } page;
    };
} dw_action;

/* Header lines must live until the answer is read: static ones, or memory of dw_alloc. */
DW_UNUSED dw_action dw_pass(void) { return (dw_action){ .kind = 0 }; }
DW_UNUSED dw_action dw_set(dw_header_lines set) { return (dw_action){ .kind = 1, .set = set }; }
DW_UNUSED dw_action dw_redirect(dw_text to) { return (dw_action){ .kind = 2, .redirect = to }; }
DW_UNUSED dw_action dw_answer(uint16_t status, dw_header_lines headers, dw_text body) {
    return (dw_action){ .kind = 3, .answer = { status, headers, body } };
}
/* Headers on the way to the node, and in the answer. */
DW_UNUSED dw_action dw_set_both(dw_header_lines request, dw_header_lines response) {
    return (dw_action){ .kind = 4, .both = { request, response } };
}
/* The page "notice" of the site: heading and text are keys of the language files, or texts. */
DW_UNUSED dw_action dw_notice(uint16_t status, dw_text title, dw_text text, dw_header_lines headers) {
    return (dw_action){ .kind = 5, .page = { DW("notice"), status, title, text, headers } };
}

dw_action decide(void);

DW_EXPORT("filter", "decide") const dw_action *dw_export_decide(void) {
    static dw_action answer;
    dw_begin();
    answer = decide();
    return &answer;
}

#elif defined(DOORWARD_ROUTE)

typedef struct {
    bool some;
    struct {
        uint8_t kind;
        dw_text name;
    } destination;
} dw_destination;

DW_UNUSED dw_destination dw_keep(void) { return (dw_destination){ .some = true, .destination = { .kind = 0 } }; }
DW_UNUSED dw_destination dw_node(dw_text name) { return (dw_destination){ .some = true, .destination = { 1, name } }; }
DW_UNUSED dw_destination dw_later(void) { return (dw_destination){ .some = true, .destination = { .kind = 2 } }; }
DW_UNUSED dw_destination dw_no_opinion(void) { return (dw_destination){ .some = false }; }

dw_destination decide(void);

DW_EXPORT("route", "decide") const dw_destination *dw_export_decide(void) {
    static dw_destination answer;
    dw_begin();
    answer = decide();
    return &answer;
}

#else
#error "build it with `doorward policy build`, which says which question is answered"
#endif

#endif
