/* text.h - text that others will read: is it UTF-8 that shows what it says, and if not, how to show it.
 *
 * What a client, a file name or a library calls itself can be any bytes. Text that goes into a reply has to
 * be UTF-8, and text that goes to a terminal or a log has to have no character that controls it or reorders
 * it. A character is "plain" when it does neither and can be seen: not a control (C0, DEL, C1), not a line or
 * paragraph separator, not one that is invisible or changes the direction of its neighbours (U+200B to
 * U+200F, U+202A to U+202E, U+2060 to U+206F, U+061C, U+FEFF and their like).
 *
 * The client library uses it too. No memory, no locale.
 */
#pragma once

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Decode the first character of `text`, which ends with a NUL byte. Returns its length in bytes (1 to 4), 0
 * at the end; -1: what is there is not UTF-8 (an overlong form, a surrogate, past U+10FFFF, cut off). */
int text_decode(const char *text, uint32_t *ret_character);
bool text_is_plain_character(uint32_t character);

/* All of it is UTF-8, and every character plain. */
bool text_is_plain(const char *text);

/* How many bytes of `text`, at most `max_bytes`, are whole characters: none is cut, nor parted from the
 * accents (combining marks) that follow it. What is not UTF-8 counts byte by byte. */
size_t text_fit(const char *text, size_t max_bytes);

/* Put '?' where something is not UTF-8, or a character that is not plain. Never longer than it was; returns
 * `text`. */
char *text_clean(char *text);

/* As vsnprintf(), but what fits is whole characters, and the result is cleaned. Returns `buffer`; `room` is
 * at least 1. */
char *text_format(char *buffer, size_t room, const char *format, ...) __attribute__((format(printf, 3, 4)));
char *text_vformat(char *buffer, size_t room, const char *format, va_list args)
	__attribute__((format(printf, 3, 0)));

/* Somebody's text as a sentence repeats it: cleaned, and where it is long, its beginning and "...". Returns
 * `shown`. */
#define TEXT_SHOWN_MAX 100
char *text_show(const char *text, char shown[TEXT_SHOWN_MAX]);

/* For a terminal: bytes that are not UTF-8 as \xff, characters that are not plain as \u{202e}; nothing is
 * lost. Returns the length that the whole has, as snprintf() does; `room` 0: `out` may be NULL. */
#define TEXT_ESCAPE_MAX 10 /* bytes that one character can become */
size_t text_escape(const char *text, char *out, size_t room);
