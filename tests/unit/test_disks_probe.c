/* SPDX-License-Identifier: Apache-2.0 */
/* Signatures: libblkid over small images that hold nothing but the magic of their format. */
#include "unit.h"

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "disks/probe.h"

#define IMAGE_SIZE (4 << 20)

struct image {
	int fd;
	char signature[32], label[64];
};

static int image_make(void **state)
{
	static struct image image;

	image.fd = memfd_create("image", MFD_CLOEXEC);
	*state = &image;
	return image.fd < 0 || ftruncate(image.fd, IMAGE_SIZE) < 0 ? -1 : 0;
}

static int image_done(void **state)
{
	return close(((struct image *)*state)->fd);
}

static void put(struct image *image, off_t offset, const void *bytes, size_t n)
{
	assert_int_equal(pwrite(image->fd, bytes, n, offset), n);
}

/* swap(8): version 1 and a number of pages at 1024, label at 1052, the magic at the page's end. */
static void put_swap(struct image *image)
{
	put(image, 1024, "\1\0\0\0\377\3\0\0", 8);
	put(image, 1052, "swapdisk", 8);
	put(image, 4086, "SWAPSPACE2", 10);
}

static void put_luks(struct image *image)
{
	put(image, 0, "LUKS\xba\xbe\0\1", 8);
}

/* One primary partition of type Linux from sector 2048 on, 2048 sectors. */
static void put_mbr(struct image *image)
{
	put(image, 446, "\0\0\0\0\x83\0\0\0\0\x08\0\0\0\x08\0\0", 16);
	put(image, 510, "\x55\xaa", 2);
}

static void expect(struct image *image, const char *signature, const char *label)
{
	disk_probe(image->fd, image->signature, image->label);
	assert_string_equal(image->signature, signature);
	assert_string_equal(image->label, label);
}

static void blank(void **state)
{
	expect(*state, "", "");
}

static void superblock(void **state)
{
	put_swap(*state);
	expect(*state, "swap", "swapdisk");
}

static void another_superblock(void **state)
{
	put_luks(*state);
	expect(*state, "crypto_LUKS", "");
}

static void partition_table(void **state)
{
	put_mbr(*state);
	expect(*state, "dos", "");
}

static void two_superblocks(void **state)
{
	put_swap(*state);
	put(*state, 1024 + 56, "\x53\xef", 2); /* ext2, around the swap header */
	expect(*state, "ambiguous", "");
}

static void superblock_and_partition_table(void **state)
{
	put_swap(*state);
	put_mbr(*state);
	expect(*state, "ambiguous", "swapdisk");
}

static void unreadable(void **state)
{
	char signature[32], label[64];
	int ends[2];

	assert_int_equal(pipe(ends), 0);
	disk_probe(ends[0], signature, label);
	assert_string_equal(signature, "unreadable");
	close(ends[0]);
	close(ends[1]);
}

static void texts(void **state)
{
	char to[8];

	fact_copy(to, sizeof(to), "seven77");
	assert_string_equal(to, "seven77");
	fact_copy(to, sizeof(to), "\x1b[2J\n\xff~");
	assert_string_equal(to, "?[2J??~");
	/* What does not fit is left out: cut, it could match what it is not. */
	fact_copy(to, sizeof(to), "eight888");
	assert_string_equal(to, "");
}

static void properties(void **state)
{
	static const struct {
		const char *property, *fact;
	} cases[] = {
		{"QEMU\\x20HARDDISK\\x20\\x20\\x20", "QEMU HARDDISK"},
		{"  two  words ", "two words"},
		{"a\\x2fb\\x5cc", "a/b\\c"},
		{"\\x1b[2J\\x00end", "?[2J"},
		/* Not of the form: as it is. */
		{"\\x2", "\\x2"},
		{"\\xzz\\20", "\\xzz\\20"},
		{"\\x20", ""},
		{"", ""},
	};
	char to[64], text[300];

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		fact_copy_property(to, sizeof(to), cases[i].property);
		assert_string_equal(to, cases[i].fact);
	}
	memset(text, 'a', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	fact_copy_property(text, sizeof(text), text);
	assert_string_equal(text, "");
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, image_make, image_done)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(blank),
		TEST(superblock),
		TEST(another_superblock),
		TEST(partition_table),
		TEST(two_superblocks),
		TEST(superblock_and_partition_table),
		cmocka_unit_test(unreadable),
		cmocka_unit_test(texts),
		cmocka_unit_test(properties),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
