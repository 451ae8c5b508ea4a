/* json.h: reads JSON (RFC 8259) from front to back, as far as settings of a few texts need it.
 *
 * A reader that met something that is no JSON is `broken`, and from then on sees nothing but the end.
 */
#ifndef JSON_H
#define JSON_H

#include "doorward.h"

typedef struct {
    dw_text text;
    size_t at;
    bool broken;
} json_reader;

/* Objects and arrays may lie so deep in what is skipped; each level costs some of the stack. */
#define JSON_DEPTH 64

static char json_byte(const json_reader *in) { return in->broken || in->at >= in->text.size ? 0 : in->text.at[in->at]; }

/* The first byte of what comes next, after white space; 0 at the end. */
static char json_next(json_reader *in) {
    char byte;
    while (byte = json_byte(in), byte == ' ' || byte == '\t' || byte == '\n' || byte == '\r') in->at++;
    return byte;
}

/* Whether this byte came next; then it is read. */
static bool json_take(json_reader *in, char byte) {
    if (json_next(in) != byte) return false;
    in->at++;
    return true;
}

static void json_break(json_reader *in) { in->broken = true; }

static void json_expect(json_reader *in, char byte) {
    if (!json_take(in, byte)) json_break(in);
}

/* Four hexadecimal digits. */
static uint32_t json_hex(json_reader *in) {
    uint32_t value = 0;
    for (int i = 0; i < 4; i++, in->at++) {
        char byte = json_byte(in);
        if (byte >= '0' && byte <= '9') value = value * 16 + (uint32_t)(byte - '0');
        else if (byte >= 'a' && byte <= 'f') value = value * 16 + (uint32_t)(byte - 'a' + 10);
        else if (byte >= 'A' && byte <= 'F') value = value * 16 + (uint32_t)(byte - 'A' + 10);
        else json_break(in);
    }
    return value;
}

/* What follows `\u`, as UTF-8. Two halves of a pair are one character, and half a pair is none. */
static size_t json_unicode(json_reader *in, char *out) {
    uint32_t value = json_hex(in);
    if (value >= 0xd800 && value < 0xdc00) {
        bool second = json_byte(in) == '\\' && (in->at++, json_byte(in) == 'u') && (in->at++, true);
        uint32_t low = second ? json_hex(in) : 0;
        if (low < 0xdc00 || low > 0xdfff) json_break(in);
        else value = 0x10000 + ((value - 0xd800) << 10) + (low - 0xdc00);
    } else if (value >= 0xdc00 && value <= 0xdfff) {
        json_break(in);
    }
    if (value < 0x80) return out[0] = (char)value, 1;
    if (value < 0x800) return out[0] = (char)(0xc0 | value >> 6), out[1] = (char)(0x80 | (value & 63)), 2;
    if (value < 0x10000) {
        out[0] = (char)(0xe0 | value >> 12), out[1] = (char)(0x80 | (value >> 6 & 63)), out[2] = (char)(0x80 | (value & 63));
        return 3;
    }
    out[0] = (char)(0xf0 | value >> 18), out[1] = (char)(0x80 | (value >> 12 & 63));
    out[2] = (char)(0x80 | (value >> 6 & 63)), out[3] = (char)(0x80 | (value & 63));
    return 4;
}

/* A text, decoded. An escape is never shorter than what it stands for, so the rest of the input is room enough; what
 * is left over is given back. */
static dw_text json_text(json_reader *in) {
    json_expect(in, '"');
    size_t raw = 0;
    for (size_t i = in->at; i < in->text.size && in->text.at[i] != '"'; i++, raw++) {
        if (in->text.at[i] == '\\') i++, raw++;
    }
    char *out = dw_alloc(raw);
    size_t size = 0;
    for (;;) {
        char byte = json_byte(in);
        if ((unsigned char)byte < 0x20) return json_break(in), (dw_text)DW("");
        in->at++;
        if (byte == '"') return (dw_text){ out, size };
        if (byte != '\\') {
            out[size++] = byte;
            continue;
        }
        byte = json_byte(in);
        in->at++;
        switch (byte) {
        case '"': case '\\': case '/': out[size++] = byte; break;
        case 'b': out[size++] = '\b'; break;
        case 'f': out[size++] = '\f'; break;
        case 'n': out[size++] = '\n'; break;
        case 'r': out[size++] = '\r'; break;
        case 't': out[size++] = '\t'; break;
        case 'u': size += json_unicode(in, out + size); break;
        default: json_break(in);
        }
    }
}

/* What kind of value comes next, in words. */
static dw_text json_kind(json_reader *in) {
    switch (json_next(in)) {
    case '"': return DW_TEXT("a text");
    case '{': return DW_TEXT("a table");
    case '[': return DW_TEXT("a list");
    case 't': case 'f': return DW_TEXT("true or false");
    case 'n': return DW_TEXT("null");
    case 0: return DW_TEXT("nothing");
    default: return DW_TEXT("a number");
    }
}

/* Passes over a value of any kind. Numbers and words are not looked at closely: they are of no use here. */
static void json_skip(json_reader *in, int depth) {
    if (depth > JSON_DEPTH) json_break(in);
    char first = json_next(in);
    if (first == '"') {
        json_text(in);
    } else if (first == '{' || first == '[') {
        char last = first == '{' ? '}' : ']';
        in->at++;
        if (json_take(in, last)) return;
        do {
            if (first == '{') json_text(in), json_expect(in, ':');
            json_skip(in, depth + 1);
        } while (json_take(in, ','));
        json_expect(in, last);
    } else {
        size_t start = in->at;
        for (char byte; byte = json_byte(in), (byte >= '0' && byte <= '9') || (byte >= 'a' && byte <= 'z') ||
             byte == '-' || byte == '+' || byte == '.' || byte == 'E';) in->at++;
        if (in->at == start) json_break(in);
    }
}

#endif
