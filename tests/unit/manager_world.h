/* SPDX-License-Identifier: Apache-2.0 */
/* A real manager on loopback, in a process of its own, and this one as its VMs and administrators:
 * real TLS, HTTP/2, signatures, store and file KMS. Each test program has its own. */
#pragma once

#include "unit.h"

#include <arpa/inet.h>
#include <curl/curl.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "keys/sign.h"
#include "manager/admin_routes.h"
#include "manager/kms/file/keyfile.h"
#include "manager/manager.h"
#include "manager/pki.h"

static char top[] = "/tmp/emberlock-server-XXXXXX";
static char state_dir[64], key_dir[64];
static pid_t manager_pid;
static char vm_url[96], admin_url[96], storage_url[96], events_url[96];
static bool as_nobody; /* the next manager gives up root, so that files can be refused to it */
static struct signing_keys trusted;

/* --- the manager, in a child --- */

static inline int stop(sd_event_source *source, const struct signalfd_siginfo *info, void *userdata)
{
	return sd_event_exit(sd_event_source_get_event(source), 0);
}

static inline int child(int pipe_fd)
{
	const struct manager_options options = {
		.state = state_dir,
		.listen = "127.0.0.1:0",
		.admin_listen = "127.0.0.1:0",
		.storage_listen = "127.0.0.1:0",
		.events_listen = "127.0.0.1:0",
		.admin_routes = admin_routes,
		.n_admin_routes = admin_routes_n,
	};
	struct manager *manager;
	char addresses[4][64];
	sd_event *event;
	sigset_t set;
	int r;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
	if (sd_event_new(&event) < 0 || manager_new(event, &options, &manager) < 0 ||
	    sd_event_add_signal(event, NULL, SIGTERM, stop, NULL) < 0)
		return 1;
	manager_address(manager, LISTENER_VM, addresses[0]);
	manager_address(manager, LISTENER_ADMIN, addresses[1]);
	manager_address(manager, LISTENER_STORAGE, addresses[2]);
	manager_address(manager, LISTENER_EVENTS, addresses[3]);
	if (write(pipe_fd, addresses, sizeof(addresses)) != sizeof(addresses))
		return 1;
	close(pipe_fd);
	r = sd_event_loop(event);
	manager_free(manager);
	sd_event_unref(event);
	return r < 0;
}

static inline void manager_start(void)
{
	char addresses[4][64];
	int fds[2];

	assert_int_equal(pipe(fds), 0);
	fflush(NULL);
	manager_pid = fork();
	assert_true(manager_pid >= 0);
	if (manager_pid == 0) {
		char fd[16];

		snprintf(fd, sizeof(fd), "%d", fds[1]);
		close(fds[0]);
		if (as_nobody && geteuid() == 0 && (setgid(65534) < 0 || setuid(65534) < 0))
			_exit(127);
		execl("/proc/self/exe", "manager", state_dir, fd, NULL);
		_exit(127);
	}
	close(fds[1]);
	assert_int_equal(read(fds[0], addresses, sizeof(addresses)), sizeof(addresses));
	close(fds[0]);
	snprintf(vm_url, sizeof(vm_url), "https://%s", addresses[0]);
	snprintf(admin_url, sizeof(admin_url), "https://%s", addresses[1]);
	snprintf(storage_url, sizeof(storage_url), "https://%s", addresses[2]);
	snprintf(events_url, sizeof(events_url), "https://%s", addresses[3]);
}

static inline void manager_stop(void)
{
	int status;

	assert_int_equal(kill(manager_pid, SIGTERM), 0);
	assert_int_equal(waitpid(manager_pid, &status, 0), manager_pid);
	manager_pid = 0;
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

/* As a crash of the machine would, but for the disk's cache. */
static inline void manager_kill(void)
{
	assert_int_equal(kill(manager_pid, SIGKILL), 0);
	assert_int_equal(waitpid(manager_pid, NULL, 0), manager_pid);
	manager_pid = 0;
}

/* --- HTTP --- */

struct answer {
	CURLcode error;
	long status, retry_after;
	char type[64]; /* of the body; "" none */
	uint8_t body[65536];
	size_t size;
	uint64_t took_ms;
};

static inline uint64_t now_ms(void)
{
	return clock_boottime_ns() / NSEC_PER_MSEC;
}

static inline size_t on_body(char *bytes, size_t one, size_t n, void *userdata)
{
	struct answer *answer = userdata;

	if (n > sizeof(answer->body) - answer->size)
		return 0;
	memcpy(answer->body + answer->size, bytes, n);
	answer->size += n;
	return n;
}

static inline CURL *handle_for(const char *base, const char *path, struct answer *answer)
{
	char text[512];
	CURL *curl = curl_easy_init();

	snprintf(text, sizeof(text), "%s%s", base, path);
	curl_easy_setopt(curl, CURLOPT_URL, text);
	snprintf(text, sizeof(text), "%s/ca.pem", state_dir);
	curl_easy_setopt(curl, CURLOPT_CAINFO, text);
	curl_easy_setopt(curl, CURLOPT_HTTP_VERSION, CURL_HTTP_VERSION_2TLS);
	curl_easy_setopt(curl, CURLOPT_TIMEOUT, 40L);
	curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_body);
	curl_easy_setopt(curl, CURLOPT_WRITEDATA, answer);
	return curl;
}

static inline void perform(CURL *curl, struct answer *answer)
{
	const char *type = NULL;
	curl_off_t after = 0;
	uint64_t start = now_ms();

	answer->size = 0;
	answer->status = 0;
	answer->error = curl_easy_perform(curl);
	answer->took_ms = now_ms() - start;
	curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &answer->status);
	curl_easy_getinfo(curl, CURLINFO_RETRY_AFTER, &after);
	answer->retry_after = (long)after;
	curl_easy_getinfo(curl, CURLINFO_CONTENT_TYPE, &type);
	snprintf(answer->type, sizeof(answer->type), "%s", type ? type : "");
	curl_easy_cleanup(curl);
}

static inline void post(const char *path, const void *body, size_t n, struct answer *answer)
{
	CURL *curl = handle_for(vm_url, path, answer);

	curl_easy_setopt(curl, CURLOPT_POST, 1L);
	curl_easy_setopt(curl, CURLOPT_POSTFIELDS, body);
	curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE, (long)n);
	perform(curl, answer);
}

static inline void get(const char *path, struct answer *answer)
{
	perform(handle_for(vm_url, path, answer), answer);
}

/* As ROLE; BODY NULL: none. Returns the answer's JSON, or NULL. */
static inline json_t *admin(const char *role, const char *method, const char *path,
			    const char *body, long expected)
{
	static struct answer answer;
	CURL *curl = handle_for(admin_url, path, &answer);
	char text[256];

	if (role) {
		snprintf(text, sizeof(text), "%s/identities/%s/cert.pem", state_dir, role);
		curl_easy_setopt(curl, CURLOPT_SSLCERT, text);
		snprintf(text, sizeof(text), "%s/identities/%s/key.pem", state_dir, role);
		curl_easy_setopt(curl, CURLOPT_SSLKEY, text);
	}
	curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, method);
	if (body) {
		curl_easy_setopt(curl, CURLOPT_POSTFIELDS, body);
		curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE, (long)strlen(body));
	}
	perform(curl, &answer);
	if (answer.status != expected)
		print_error("%s %s: %ld %.*s\n", method, path, answer.status, (int)answer.size,
			    (char *)answer.body);
	assert_int_equal(answer.status, expected);
	return json_loadb((char *)answer.body, answer.size, JSON_DECODE_ANY, NULL);
}

static inline void key_admin(const char *method, const char *path, const char *body, long expected)
{
	json_decref(admin("key-administrator", method, path, body, expected));
}

static inline void operate(const char *method, const char *path, long expected)
{
	json_decref(admin("operator", method, path, NULL, expected));
}

/* --- a VM --- */

struct vm {
	const char *workspace, *name;
	struct signing_key *key, *boot_key;
	uint8_t boot_id[BOOT_ID_SIZE];
	char failure[64];
	uint8_t report[BOOT_REPORT_SIZE];
	uint8_t admission[HASH_SIZE];
	uint64_t number;
	uint8_t challenge[CHALLENGE_SIZE];
	struct sequence highest;
	struct token token;
	uint8_t token_bytes[TOKEN_SIZE];
};

static inline void random_key(struct signing_key **ret)
{
	uint8_t seed[IDENTITY_SEED_SIZE];

	assert_int_equal(signing_key_generate(seed), 0);
	assert_int_equal(signing_key_new_from_seed(seed, ret), 0);
}

static inline void new_challenge(struct vm *vm)
{
	uint8_t seed[32];

	vm->number++;
	assert_int_equal(signing_key_generate(seed), 0);
	memcpy(vm->challenge, seed, CHALLENGE_SIZE);
}

/* A new boot: keys, boot id, report, first challenge. */
static inline void vm_boot(struct vm *vm)
{
	struct boot_report report = {
		.n_volumes = 1,
		.volumes = {{.use = VOLUME_EXT4,
			     .state = VOLUME_READY,
			     .n_segments = 1,
			     .bytes = 4096}},
	};
	uint8_t seed[32];

	vm->boot_key = signing_key_free(vm->boot_key);
	random_key(&vm->boot_key);
	assert_int_equal(signing_key_generate(seed), 0);
	memcpy(vm->boot_id, seed, BOOT_ID_SIZE);
	snprintf(report.workspace, sizeof(report.workspace), "%s", vm->workspace);
	snprintf(report.vm, sizeof(report.vm), "%s", vm->name);
	snprintf(report.failure, sizeof(report.failure), "%s", vm->failure);
	strcpy(report.volumes[0].name, "data");
	strcpy(report.version, "0.1.0");
	strcpy(report.kernel, "6.1.0");
	memcpy(report.boot_id, vm->boot_id, BOOT_ID_SIZE);
	assert_int_equal(boot_report_sign(vm->key, vm->boot_key, &report, vm->report), 0);
	assert_int_equal(sha256(vm->report, sizeof(vm->report), vm->admission), 0);
	vm->number = 0;
	vm->highest = (struct sequence){0};
	new_challenge(vm);
}

static inline void vm_enrol(struct vm *vm, const char *workspace, const char *name)
{
	uint8_t public_key[PUBLIC_KEY_SIZE];
	char hex[2 * PUBLIC_KEY_SIZE + 1], body[512];

	*vm = (struct vm){.workspace = workspace, .name = name};
	random_key(&vm->key);
	signing_key_public(vm->key, public_key);
	hex_encode(public_key, sizeof(public_key), hex);
	snprintf(body, sizeof(body), "{\"workspace\":\"%s\",\"vm\":\"%s\",\"public_key\":\"%s\"}",
		 workspace, name, hex);
	json_decref(admin("operator", "POST", "/v1/vms", body, 204));
	vm_boot(vm);
}

static inline void vm_done(struct vm *vm)
{
	signing_key_free(vm->key);
	signing_key_free(vm->boot_key);
}

static inline void vm_request(const struct vm *vm, uint8_t bytes[static LEASE_REQUEST_SIZE])
{
	struct lease_request request = {.number = vm->number, .highest = vm->highest};

	memcpy(request.admission, vm->admission, HASH_SIZE);
	memcpy(request.challenge, vm->challenge, CHALLENGE_SIZE);
	assert_int_equal(lease_request_sign(vm->boot_key, &request, bytes), 0);
}

static inline void vm_post_boot(struct vm *vm, struct answer *answer)
{
	uint8_t body[BOOT_BODY_SIZE];

	memcpy(body, vm->report, BOOT_REPORT_SIZE);
	vm_request(vm, body + BOOT_REPORT_SIZE);
	post("/v1/boot", body, sizeof(body), answer);
}

static inline void vm_post_lease(struct vm *vm, struct answer *answer)
{
	uint8_t body[LEASE_REQUEST_SIZE];

	vm_request(vm, body);
	post("/v1/lease", body, sizeof(body), answer);
}

/* The answer holds a token that the trusted set verifies, for this boot. */
static inline void vm_take(struct vm *vm, const struct answer *answer, enum verdict verdict,
			   enum reason reason)
{
	if (answer->status != 200)
		print_error("status %ld: %.*s\n", answer->status, (int)answer->size,
			    (const char *)answer->body);
	assert_int_equal(answer->status, 200);
	assert_int_equal(token_verify(answer->body, answer->size, &trusted, &vm->token), 0);
	assert_memory_equal(vm->token.admission, vm->admission, HASH_SIZE);
	assert_int_equal(vm->token.verdict, verdict);
	assert_int_equal(vm->token.reason, reason);
	memcpy(vm->token_bytes, answer->body, TOKEN_SIZE);
	if (verdict == VERDICT_SHRED)
		return;
	assert_memory_equal(vm->token.challenge, vm->challenge, CHALLENGE_SIZE);
	assert_true(sequence_compare(vm->token.sequence, vm->highest) > 0);
	assert_true(vm->token.ttl_ms > 0 && vm->token.margin_ms < vm->token.ttl_ms / 2);
	vm->highest = vm->token.sequence;
}

static inline void vm_admit(struct vm *vm)
{
	static struct answer answer;

	vm_post_boot(vm, &answer);
	vm_take(vm, &answer, VERDICT_ADMIT, REASON_NONE);
	new_challenge(vm);
}

static inline void vm_renew(struct vm *vm)
{
	static struct answer answer;

	vm_post_lease(vm, &answer);
	vm_take(vm, &answer, VERDICT_CONTINUE, REASON_NONE);
	new_challenge(vm);
}

/* A lease request that is under way while the test does something else. */
struct parked {
	pthread_t thread;
	struct vm *vm;
	struct answer answer;
	uint64_t ended_ms;
	bool boot;
};

static inline void *parked_main(void *userdata)
{
	struct parked *parked = userdata;

	if (parked->boot)
		vm_post_boot(parked->vm, &parked->answer);
	else
		vm_post_lease(parked->vm, &parked->answer);
	parked->ended_ms = now_ms();
	return NULL;
}

static inline void pause_ms(unsigned ms)
{
	const struct timespec time = {ms / 1000, (long)(ms % 1000) * 1000000};

	nanosleep(&time, NULL);
}

static inline struct parked *park(struct vm *vm, bool boot)
{
	struct parked *parked = calloc(1, sizeof(*parked));

	parked->vm = vm;
	parked->boot = boot;
	assert_int_equal(pthread_create(&parked->thread, NULL, parked_main, parked), 0);
	pause_ms(400); /* it is there, and held */
	return parked;
}

static inline void parked_wait(struct parked *parked)
{
	assert_int_equal(pthread_join(parked->thread, NULL), 0);
}

/* --- set-up --- */

static inline void make_key(const char *name, const char *more)
{
	char body[512];

	assert_int_equal(keyfile_create(key_dir, name), 0);
	snprintf(body, sizeof(body),
		 "{\"name\":\"%s\",\"file_key_info\":{\"key_id\":\"%s\",\"directory\":\"%s\"}%s}",
		 name, name, key_dir, more);
	key_admin("POST", "/v1/keys", body, 204);
}

static inline void make_workspace(const char *name, const char *key)
{
	char body[256], path[128];

	snprintf(body, sizeof(body), "{\"name\":\"%s\"}", name);
	key_admin("POST", "/v1/workspaces", body, 204);
	snprintf(body, sizeof(body), "{\"key\":\"%s\"}", key);
	snprintf(path, sizeof(path), "/v1/workspaces/%s/key", name);
	key_admin("PUT", path, body, 204);
}

#define QUICK                                                                                      \
	",\"poll_ms\":5000,\"lease_ms\":30000,\"margin_ms\":5000,\"max_staleness_ms\":20000,"      \
	"\"probe_ms\":500"

static inline void trust(void)
{
	uint8_t root_public[PUBLIC_KEY_SIZE];
	char path[128], hex[65];
	struct answer answer;
	FILE *file;

	snprintf(path, sizeof(path), "%s/offline/root.pub", state_dir);
	file = fopen(path, "r");
	assert_non_null(file);
	assert_int_equal(fread(hex, 1, 64, file), 64);
	fclose(file);
	assert_int_equal(hex_decode(hex, 64, root_public, sizeof(root_public)), 0);
	get("/v1/signing-keys", &answer);
	assert_int_equal(answer.status, 200);
	assert_int_equal(signing_keys_verify(answer.body, answer.size, root_public, &trusted), 0);
}

static inline int set_up(void **state)
{
	struct pki_options options = {
		.state_dir = state_dir,
		.admin_url = "https://127.0.0.1",
		.manager_url = "https://127.0.0.1",
	};
	char error[256];

	curl_global_init(CURL_GLOBAL_ALL);
	if (!mkdtemp(top))
		return -1;
	snprintf(state_dir, sizeof(state_dir), "%s/state", top);
	snprintf(key_dir, sizeof(key_dir), "%s/kms", top);
	if (mkdir(state_dir, 0700) < 0 ||
	    pki_ensure(&options, (int64_t)clock_realtime_s(), error) < 0)
		return -1;
	manager_start();
	trust();
	make_key("main", QUICK);
	make_workspace("w", "main");
	return 0;
}

static inline int tear_down(void **state)
{
	char command[128];

	if (manager_pid > 0)
		manager_stop();
	curl_global_cleanup();
	snprintf(command, sizeof(command), "rm -rf %s", top);
	return system(command);
}

/* The program again, as its own manager. */
static inline int world_main(int argc, char **argv, int (*tests)(void))
{
	if (argc != 3)
		return tests();
	snprintf(state_dir, sizeof(state_dir), "%s", argv[1]);
	return child(atoi(argv[2]));
}

/* What the fleet says of this boot; the caller drops it. */
static inline json_t *fleet_of(const struct vm *vm)
{
	char hex[2 * HASH_SIZE + 1];
	json_t *fleet = admin("operator", "GET", "/v1/fleet", NULL, 200), *row, *found = NULL;
	size_t i;

	hex_encode(vm->admission, HASH_SIZE, hex);
	assert_true(json_is_array(fleet));
	json_array_foreach(fleet, i, row)
	{
		if (strcmp(json_string_value(json_object_get(row, "admission")), hex) == 0)
			found = json_incref(row);
	}
	json_decref(fleet);
	return found;
}

static inline void assert_fleet(const struct vm *vm, const char *state, const char *class)
{
	json_t *row = fleet_of(vm);

	assert_non_null(row);
	assert_string_equal(json_string_value(json_object_get(row, "state")), state);
	assert_string_equal(json_string_value(json_object_get(row, "class")), class);
	json_decref(row);
}
