/* text.c - see text.h. */
#include <config.h>

#include <stdio.h>
#include <string.h>

#include "daemon/base/text.h"

#define CHARACTER_MAX 0x10ffffu

struct range {
	uint32_t first, last;
};

/* By the Unicode Character Database, version 15: general categories Cc, Zl, Zp, those of Cf that are not
 * seen, and other characters of no width and no shape. Ascending. */
static const struct range not_plain[] = {
	{0x0000, 0x001f},   {0x007f, 0x009f}, /* controls: C0, DEL, C1 */
	{0x00ad, 0x00ad},                     /* soft hyphen */
	{0x034f, 0x034f},                     /* combining grapheme joiner */
	{0x061c, 0x061c},                     /* Arabic letter mark */
	{0x115f, 0x1160},                     /* Hangul fillers */
	{0x17b4, 0x17b5},                     /* Khmer inherent vowels */
	{0x180b, 0x180f},                     /* Mongolian selectors and vowel separator */
	{0x200b, 0x200f},                     /* zero width, joiners, left-to-right and right-to-left marks */
	{0x2028, 0x202e},                     /* separators, embeddings and overrides */
	{0x2060, 0x206f},   /* word joiner, invisible operators, isolates, deprecated ones */
	{0x3164, 0x3164},   /* Hangul filler */
	{0xd800, 0xdfff},   /* surrogates */
	{0xfdd0, 0xfdef},   /* no characters */
	{0xfeff, 0xfeff},   /* byte order mark */
	{0xffa0, 0xffa0},   /* half-width Hangul filler */
	{0xfff0, 0xfffb},   /* interlinear annotation */
	{0xfffe, 0xffff},   /* no characters */
	{0x13430, 0x1343f}, /* Egyptian format controls */
	{0x1bca0, 0x1bca3}, {0x1d173, 0x1d17a}, /* of shorthand, of music */
	{0xe0000, 0xe0fff},                     /* tags and selectors */
};

/* Marks that are shown on the character before them; those of the scripts in use that a cut would change. */
static const struct range combining[] = {
	{0x0300, 0x036f}, {0x0483, 0x0489}, {0x0591, 0x05bd},   {0x0610, 0x061a}, {0x064b, 0x065f},
	{0x0900, 0x0903}, {0x093a, 0x094f}, {0x0e31, 0x0e31},   {0x0e34, 0x0e3a}, {0x0e47, 0x0e4e},
	{0x1ab0, 0x1aff}, {0x1dc0, 0x1dff}, {0x20d0, 0x20ff},   {0x302a, 0x302f}, {0x3099, 0x309a},
	{0xfe00, 0xfe0f}, {0xfe20, 0xfe2f}, {0x1f3fb, 0x1f3ff},
};

static bool is_in(const struct range *ranges, size_t n, uint32_t character)
{
	for (size_t i = 0; i < n && ranges[i].first <= character; i++)
		if (character <= ranges[i].last)
			return true;
	return false;
}

#define IS_IN(ranges, character) is_in(ranges, sizeof(ranges) / sizeof((ranges)[0]), character)

/* What the first byte of a character of several bytes says: how many there are, and the least that needs as
 * many. */
static int length_of(unsigned char first, uint32_t *ret_bits, uint32_t *ret_least)
{
	if (first >= 0xc2 && first <= 0xdf) {
		*ret_bits = first & 0x1f;
		*ret_least = 0x80;
		return 2;
	}
	if (first >= 0xe0 && first <= 0xef) {
		*ret_bits = first & 0x0f;
		*ret_least = 0x800;
		return 3;
	}
	if (first >= 0xf0 && first <= 0xf4) {
		*ret_bits = first & 0x07;
		*ret_least = 0x10000;
		return 4;
	}
	return -1;
}

int text_decode(const char *text, uint32_t *ret_character)
{
	const unsigned char *bytes = (const unsigned char *)text;
	uint32_t character, least;
	int length;

	*ret_character = bytes[0];
	if (bytes[0] < 0x80)
		return bytes[0] != 0;
	length = length_of(bytes[0], &character, &least);
	for (int i = 1; i < length; i++) {
		if ((bytes[i] & 0xc0) != 0x80) /* the end, too */
			return -1;
		character = character << 6 | (bytes[i] & 0x3f);
	}
	if (length < 0 || character < least || character > CHARACTER_MAX ||
	    (character >= 0xd800 && character <= 0xdfff))
		return -1;
	*ret_character = character;
	return length;
}

bool text_is_plain_character(uint32_t character)
{
	return character <= CHARACTER_MAX && !IS_IN(not_plain, character);
}

bool text_is_plain(const char *text)
{
	uint32_t character;
	int length;

	while ((length = text_decode(text, &character)) > 0) {
		if (!text_is_plain_character(character))
			return false;
		text += length;
	}
	return length == 0;
}

size_t text_fit(const char *text, size_t max_bytes)
{
	size_t at = 0, base = 0; /* of the last character that is no mark */
	uint32_t character;
	int length;

	while ((length = text_decode(text + at, &character)) != 0) {
		const bool is_mark = length > 0 && IS_IN(combining, character);
		const size_t bytes = length > 0 ? (size_t)length : 1;

		if (at + bytes > max_bytes)
			return is_mark ? base : at;
		if (!is_mark)
			base = at;
		at += bytes;
	}
	return at;
}

char *text_clean(char *text)
{
	const char *from = text;
	char *to = text;
	uint32_t character;
	int length;

	while ((length = text_decode(from, &character)) != 0) {
		if (length > 0 && text_is_plain_character(character)) {
			memmove(to, from, (size_t)length);
			to += length;
		} else {
			*to++ = '?';
		}
		from += length > 0 ? length : 1;
	}
	*to = 0;
	return text;
}

/* The buffer was filled to its last byte: the text may have been longer, and its last character be cut. */
static void drop_cut_character(char *buffer, size_t length)
{
	size_t first = length;
	uint32_t character;

	while (first > 0 && length - first < 3 && ((unsigned char)buffer[first - 1] & 0xc0) == 0x80)
		first--;
	if (first > 0 && (unsigned char)buffer[first - 1] >= 0xc2 &&
	    text_decode(buffer + first - 1, &character) < 0)
		buffer[first - 1] = 0;
}

char *text_vformat(char *buffer, size_t room, const char *format, va_list args)
{
	int length = vsnprintf(buffer, room, format, args);

	if (length < 0)
		buffer[0] = 0;
	else if ((size_t)length >= room)
		drop_cut_character(buffer, room - 1);
	return text_clean(buffer);
}

char *text_format(char *buffer, size_t room, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	text_vformat(buffer, room, format, args);
	va_end(args);
	return buffer;
}

char *text_show(const char *text, char shown[TEXT_SHOWN_MAX])
{
	static const char more[] = "...";
	size_t n = text_fit(text, TEXT_SHOWN_MAX - 1);

	if (text[n])
		n = text_fit(text, TEXT_SHOWN_MAX - sizeof(more));
	memcpy(shown, text, n);
	strcpy(shown + n, text[n] ? more : "");
	return text_clean(shown);
}

size_t text_escape(const char *text, char *out, size_t room)
{
	size_t total = 0;
	uint32_t character;
	int length;

	while ((length = text_decode(text, &character)) != 0) {
		char escaped[TEXT_ESCAPE_MAX + 1];
		size_t n;

		if (length < 0)
			n = (size_t)snprintf(escaped, sizeof(escaped), "\\x%02x", (unsigned char)*text);
		else if (!text_is_plain_character(character))
			n = (size_t)snprintf(escaped, sizeof(escaped), "\\u{%x}", (unsigned)character);
		else
			memcpy(escaped, text, n = (size_t)length);
		if (total + n < room)
			memcpy(out + total, escaped, n);
		else if (total < room)
			room = total + 1; /* what does not fit is left out whole, and all behind it */
		total += n;
		text += length > 0 ? length : 1;
	}
	if (room > 0)
		out[total < room ? total : room - 1] = 0;
	return total;
}
