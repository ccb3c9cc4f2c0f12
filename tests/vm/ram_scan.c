/* SPDX-License-Identifier: Apache-2.0 */
/* Looks for key material in an image of RAM or of a disk, at every byte offset; its holes are passed over.
 *
 *	ram_scan schedules FILE         AES-256 key schedules, by their structure: no key need be known
 *	ram_scan pages FILE SIZE        pages that hold SIZE bytes, the last eight not all zero, and zeros behind
 *	ram_scan find FILE              patterns from standard input, each behind its length (one byte)
 *	ram_scan decrypt FILE OFFSET SIZE
 *	                                the first SIZE bytes of the dm-crypt segment at OFFSET, to standard
 *	                                output, with the 64-byte key from standard input
 *
 * A line a hit: "OFFSET KEY" or "OFFSET BYTES", in hex, of the first two; "OFFSET PATTERN-NUMBER" of find.
 * Keys come and go by pipes only. */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <openssl/evp.h>

#define PAGE	      4096
#define SECTOR	      512
#define CRYPT_SECTOR  4096
#define KEY_SIZE      32  /* AES-256 */
#define SCHEDULE_SIZE 240 /* fifteen round keys */
#define PATTERN_MAX   255
#define FILTER_BITS   20
#define HEADS_BITS    16

struct image {
	const uint8_t *bytes;
	size_t size;
	int fd;
};

typedef void (*look_fn)(const struct image *image, size_t start, size_t end, void *argument);

static void die(const char *what)
{
	fprintf(stderr, "ram_scan: %s: %s\n", what, strerror(errno));
	exit(2);
}

static struct image image_open(const char *path)
{
	struct image image = {.fd = open(path, O_RDONLY | O_CLOEXEC)};
	struct stat st;

	if (image.fd < 0 || fstat(image.fd, &st) < 0)
		die(path);
	image.size = (size_t)st.st_size;
	if (image.size == 0)
		return image;
	image.bytes = mmap(NULL, image.size, PROT_READ, MAP_SHARED, image.fd, 0);
	if (image.bytes == MAP_FAILED)
		die(path);
	return image;
}

/* Each piece of the file that is no hole (lseek(2), SEEK_DATA). A hit that begins in one may reach
 * into a hole, which reads as zeros, and not past the end. */
static void look(const struct image *image, look_fn fn, void *argument)
{
	off_t end, start = 0;

	for (;;) {
		start = lseek(image->fd, start, SEEK_DATA);
		if (start < 0)
			return;
		end = lseek(image->fd, start, SEEK_HOLE);
		if (end < 0)
			die("lseek");
		fn(image, (size_t)start, (size_t)end, argument);
		start = end;
	}
}

static void put_hit(size_t offset, const uint8_t *bytes, size_t n)
{
	printf("%zx ", offset);
	for (size_t i = 0; i < n; i++)
		printf("%02x", bytes[i]);
	putchar('\n');
}

/* AES (FIPS 197): the S-box from its definition, and the key expansion. */

static uint8_t sbox[256];

static uint8_t gf_double(uint8_t x)
{
	return (uint8_t)(x << 1 ^ (x & 0x80 ? 0x1b : 0));
}

static void sbox_make(void)
{
	uint8_t p = 1, q = 1;

	/* p runs over all powers of 3 and q over those of its inverse, 0xf6. */
	do {
		p = (uint8_t)(p ^ gf_double(p));
		q ^= (uint8_t)(q << 1);
		q ^= (uint8_t)(q << 2);
		q ^= (uint8_t)(q << 4);
		q ^= q & 0x80 ? 0x09 : 0;
		sbox[p] = 0x63;
		for (unsigned n = 0; n < 5; n++)
			sbox[p] ^= (uint8_t)(q << n | q >> (8 - n));
	} while (p != 1);
	sbox[0] = 0x63;
}

static void expand(const uint8_t key[static KEY_SIZE], uint8_t schedule[static SCHEDULE_SIZE])
{
	uint8_t rcon = 1;

	memcpy(schedule, key, KEY_SIZE);
	for (size_t i = KEY_SIZE; i < SCHEDULE_SIZE; i += 4) {
		uint8_t word[4];

		memcpy(word, schedule + i - 4, 4);
		if (i % KEY_SIZE == 0) {
			uint8_t first = word[0];

			word[0] = sbox[word[1]] ^ rcon;
			word[1] = sbox[word[2]];
			word[2] = sbox[word[3]];
			word[3] = sbox[first];
			rcon = gf_double(rcon);
		} else if (i % KEY_SIZE == KEY_SIZE / 2) {
			for (size_t n = 0; n < 4; n++)
				word[n] = sbox[word[n]];
		}
		for (size_t n = 0; n < 4; n++)
			schedule[i + n] = schedule[i + n - KEY_SIZE] ^ word[n];
	}
}

static void look_schedules(const struct image *image, size_t start, size_t end, void *argument)
{
	(void)argument;
	for (size_t at = start; at < end && at + SCHEDULE_SIZE <= image->size; at++) {
		const uint8_t *p = image->bytes + at;
		uint8_t schedule[SCHEDULE_SIZE];

		/* Two bytes of the first word that is computed sift out nearly everything. */
		if (p[KEY_SIZE] != (p[0] ^ sbox[p[29]] ^ 1) ||
		    p[KEY_SIZE + 1] != (p[1] ^ sbox[p[30]]))
			continue;
		expand(p, schedule);
		if (memcmp(p, schedule, SCHEDULE_SIZE) == 0)
			put_hit(at, p, KEY_SIZE);
	}
}

static int is_zero(const uint8_t *p, size_t n)
{
	return n == 0 || (p[0] == 0 && memcmp(p, p + 1, n - 1) == 0);
}

static void look_pages(const struct image *image, size_t start, size_t end, void *argument)
{
	size_t size = *(const size_t *)argument;

	for (size_t at = start / PAGE * PAGE; at < end && at + PAGE <= image->size; at += PAGE) {
		const uint8_t *p = image->bytes + at;

		if (is_zero(p + size, PAGE - size) && !is_zero(p + size - 8, 8))
			put_hit(at, p, size);
	}
}

/* Many patterns at once: a bit for each hash of a pattern's first eight bytes, then chains. */

struct pattern {
	uint32_t next; /* index in the chain, plus one */
	uint8_t size;
	uint8_t bytes[PATTERN_MAX];
};

struct patterns {
	struct pattern *list;
	uint32_t count;
	uint64_t filter[(1u << FILTER_BITS) / 64];
	uint32_t heads[1u << HEADS_BITS];
};

static uint64_t first_word(const uint8_t *p)
{
	uint64_t word;

	memcpy(&word, p, sizeof(word));
	return word;
}

static uint64_t hash(uint64_t word)
{
	return word * 0x9e3779b97f4a7c15u;
}

static void pattern_add(struct patterns *patterns, const uint8_t *bytes, uint8_t size)
{
	uint64_t h = hash(first_word(bytes));
	struct pattern *pattern;

	patterns->list = reallocarray(patterns->list, patterns->count + 1, sizeof(*pattern));
	if (!patterns->list)
		die("patterns");
	pattern = &patterns->list[patterns->count];
	pattern->size = size;
	memcpy(pattern->bytes, bytes, size);
	pattern->next = patterns->heads[h >> (64 - HEADS_BITS)];
	patterns->heads[h >> (64 - HEADS_BITS)] = ++patterns->count;
	h >>= 64 - FILTER_BITS;
	patterns->filter[h / 64] |= 1ull << h % 64;
}

static void patterns_read(struct patterns *patterns)
{
	uint8_t bytes[PATTERN_MAX];
	int size;

	while ((size = getchar()) != EOF) {
		if (size < (int)sizeof(uint64_t) ||
		    fread(bytes, 1, (size_t)size, stdin) != (size_t)size) {
			errno = EINVAL;
			die("a pattern of less than eight bytes, or cut short");
		}
		pattern_add(patterns, bytes, (uint8_t)size);
	}
}

static void look_patterns(const struct image *image, size_t start, size_t end, void *argument)
{
	const struct patterns *patterns = argument;

	for (size_t at = start; at < end && at + sizeof(uint64_t) <= image->size; at++) {
		uint64_t h = hash(first_word(image->bytes + at)), bit = h >> (64 - FILTER_BITS);
		uint32_t n;

		if (!(patterns->filter[bit / 64] >> bit % 64 & 1))
			continue;
		for (n = patterns->heads[h >> (64 - HEADS_BITS)]; n != 0;
		     n = patterns->list[n - 1].next) {
			const struct pattern *pattern = &patterns->list[n - 1];

			if (pattern->size <= image->size - at &&
			    memcmp(pattern->bytes, image->bytes + at, pattern->size) == 0)
				printf("%zx %u\n", at, (unsigned)(n - 1));
		}
	}
}

/* As dm-crypt does: aes-xts-plain64, sectors of 4096 bytes whose number counts in 512. */
static void decrypt(const struct image *image, size_t offset, size_t size)
{
	EVP_CIPHER_CTX *context = EVP_CIPHER_CTX_new();
	uint8_t key[2 * KEY_SIZE];

	if (!context || fread(key, 1, sizeof(key), stdin) != sizeof(key))
		die("the key");
	for (size_t at = 0; at < size && offset + at + CRYPT_SECTOR <= image->size;
	     at += CRYPT_SECTOR) {
		uint64_t tweak[2] = {at / SECTOR, 0};
		uint8_t plain[CRYPT_SECTOR];
		int n;

		if (EVP_DecryptInit_ex(context, EVP_aes_256_xts(), NULL, key,
				       (const uint8_t *)tweak) <= 0 ||
		    EVP_DecryptUpdate(context, plain, &n, image->bytes + offset + at,
				      CRYPT_SECTOR) <= 0)
			die("decryption");
		fwrite(plain, 1, CRYPT_SECTOR, stdout);
	}
	EVP_CIPHER_CTX_free(context);
}

static size_t number(const char *text, size_t most)
{
	char *end;
	unsigned long long n = strtoull(text, &end, 10);

	if (*text == '\0' || *end != '\0' || n > most) {
		errno = EINVAL;
		die(text);
	}
	return (size_t)n;
}

int main(int argc, char *argv[])
{
	static struct patterns patterns;
	const char *verb = argc > 2 ? argv[1] : "";
	struct image image;

	if (argc > 2)
		image = image_open(argv[2]);
	if (strcmp(verb, "schedules") == 0 && argc == 3) {
		sbox_make();
		look(&image, look_schedules, NULL);
	} else if (strcmp(verb, "pages") == 0 && argc == 4) {
		size_t size = number(argv[3], PAGE);

		if (size < 8)
			return 2;
		look(&image, look_pages, &size);
	} else if (strcmp(verb, "find") == 0 && argc == 3) {
		patterns_read(&patterns);
		look(&image, look_patterns, &patterns);
	} else if (strcmp(verb, "decrypt") == 0 && argc == 5) {
		decrypt(&image, number(argv[3], SIZE_MAX), number(argv[4], SIZE_MAX));
	} else {
		fputs("usage: ram_scan schedules|pages|find|decrypt FILE [...]; see its first "
		      "lines\n",
		      stderr);
		return 2;
	}
	if (fflush(stdout) != 0)
		die("standard output");
	return 0;
}
