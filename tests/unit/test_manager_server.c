/* SPDX-License-Identifier: Apache-2.0 */
/* A real manager on loopback, in a process of its own, and this one as its VMs and administrators:
 * real TLS, HTTP/2, signatures, store and file KMS. */
#include "unit.h"

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
static char vm_url[96], admin_url[96];
static struct signing_keys trusted;

/* --- the manager, in a child --- */

static int stop(sd_event_source *source, const struct signalfd_siginfo *info, void *userdata)
{
	return sd_event_exit(sd_event_source_get_event(source), 0);
}

static int child(int pipe_fd)
{
	const struct manager_options options = {
		.state = state_dir,
		.listen = "127.0.0.1:0",
		.admin_listen = "127.0.0.1:0",
		.admin_routes = admin_routes,
		.n_admin_routes = admin_routes_n,
	};
	struct manager *manager;
	char addresses[2][64];
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
	manager_address(manager, false, addresses[0]);
	manager_address(manager, true, addresses[1]);
	if (write(pipe_fd, addresses, sizeof(addresses)) != sizeof(addresses))
		return 1;
	close(pipe_fd);
	r = sd_event_loop(event);
	manager_free(manager);
	sd_event_unref(event);
	return r < 0;
}

static void manager_start(void)
{
	char addresses[2][64];
	int fds[2];

	assert_int_equal(pipe(fds), 0);
	fflush(NULL);
	manager_pid = fork();
	assert_true(manager_pid >= 0);
	if (manager_pid == 0) {
		char fd[16];

		snprintf(fd, sizeof(fd), "%d", fds[1]);
		close(fds[0]);
		execl("/proc/self/exe", "manager", state_dir, fd, NULL);
		_exit(127);
	}
	close(fds[1]);
	assert_int_equal(read(fds[0], addresses, sizeof(addresses)), sizeof(addresses));
	close(fds[0]);
	snprintf(vm_url, sizeof(vm_url), "https://%s", addresses[0]);
	snprintf(admin_url, sizeof(admin_url), "https://%s", addresses[1]);
}

static void manager_stop(void)
{
	int status;

	assert_int_equal(kill(manager_pid, SIGTERM), 0);
	assert_int_equal(waitpid(manager_pid, &status, 0), manager_pid);
	manager_pid = 0;
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

/* --- HTTP --- */

struct answer {
	CURLcode error;
	long status, retry_after;
	uint8_t body[65536];
	size_t size;
	uint64_t took_ms;
};

static uint64_t now_ms(void)
{
	return clock_boottime_ns() / NSEC_PER_MSEC;
}

static size_t on_body(char *bytes, size_t one, size_t n, void *userdata)
{
	struct answer *answer = userdata;

	if (n > sizeof(answer->body) - answer->size)
		return 0;
	memcpy(answer->body + answer->size, bytes, n);
	answer->size += n;
	return n;
}

static CURL *handle_for(const char *base, const char *path, struct answer *answer)
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

static void perform(CURL *curl, struct answer *answer)
{
	curl_off_t after = 0;
	uint64_t start = now_ms();

	answer->size = 0;
	answer->status = 0;
	answer->error = curl_easy_perform(curl);
	answer->took_ms = now_ms() - start;
	curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &answer->status);
	curl_easy_getinfo(curl, CURLINFO_RETRY_AFTER, &after);
	answer->retry_after = (long)after;
	curl_easy_cleanup(curl);
}

static void post(const char *path, const void *body, size_t n, struct answer *answer)
{
	CURL *curl = handle_for(vm_url, path, answer);

	curl_easy_setopt(curl, CURLOPT_POST, 1L);
	curl_easy_setopt(curl, CURLOPT_POSTFIELDS, body);
	curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE, (long)n);
	perform(curl, answer);
}

static void get(const char *path, struct answer *answer)
{
	perform(handle_for(vm_url, path, answer), answer);
}

/* As ROLE; BODY NULL: none. Returns the answer's JSON, or NULL. */
static json_t *admin(const char *role, const char *method, const char *path, const char *body,
		     long expected)
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

static void key_admin(const char *method, const char *path, const char *body, long expected)
{
	json_decref(admin("key-administrator", method, path, body, expected));
}

static void operate(const char *method, const char *path, long expected)
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

static void random_key(struct signing_key **ret)
{
	uint8_t seed[IDENTITY_SEED_SIZE];

	assert_int_equal(signing_key_generate(seed), 0);
	assert_int_equal(signing_key_new_from_seed(seed, ret), 0);
}

static void new_challenge(struct vm *vm)
{
	uint8_t seed[32];

	vm->number++;
	assert_int_equal(signing_key_generate(seed), 0);
	memcpy(vm->challenge, seed, CHALLENGE_SIZE);
}

/* A new boot: keys, boot id, report, first challenge. */
static void vm_boot(struct vm *vm)
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

static void vm_enrol(struct vm *vm, const char *workspace, const char *name)
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

static void vm_done(struct vm *vm)
{
	signing_key_free(vm->key);
	signing_key_free(vm->boot_key);
}

static void vm_request(const struct vm *vm, uint8_t bytes[static LEASE_REQUEST_SIZE])
{
	struct lease_request request = {.number = vm->number, .highest = vm->highest};

	memcpy(request.admission, vm->admission, HASH_SIZE);
	memcpy(request.challenge, vm->challenge, CHALLENGE_SIZE);
	assert_int_equal(lease_request_sign(vm->boot_key, &request, bytes), 0);
}

static void vm_post_boot(struct vm *vm, struct answer *answer)
{
	uint8_t body[BOOT_BODY_SIZE];

	memcpy(body, vm->report, BOOT_REPORT_SIZE);
	vm_request(vm, body + BOOT_REPORT_SIZE);
	post("/v1/boot", body, sizeof(body), answer);
}

static void vm_post_lease(struct vm *vm, struct answer *answer)
{
	uint8_t body[LEASE_REQUEST_SIZE];

	vm_request(vm, body);
	post("/v1/lease", body, sizeof(body), answer);
}

/* The answer holds a token that the trusted set verifies, for this boot. */
static void vm_take(struct vm *vm, const struct answer *answer, enum verdict verdict,
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

static void vm_admit(struct vm *vm)
{
	static struct answer answer;

	vm_post_boot(vm, &answer);
	vm_take(vm, &answer, VERDICT_ADMIT, REASON_NONE);
	new_challenge(vm);
}

static void vm_renew(struct vm *vm)
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

static void *parked_main(void *userdata)
{
	struct parked *parked = userdata;

	if (parked->boot)
		vm_post_boot(parked->vm, &parked->answer);
	else
		vm_post_lease(parked->vm, &parked->answer);
	parked->ended_ms = now_ms();
	return NULL;
}

static void pause_ms(unsigned ms)
{
	const struct timespec time = {ms / 1000, (long)(ms % 1000) * 1000000};

	nanosleep(&time, NULL);
}

static struct parked *park(struct vm *vm, bool boot)
{
	struct parked *parked = calloc(1, sizeof(*parked));

	parked->vm = vm;
	parked->boot = boot;
	assert_int_equal(pthread_create(&parked->thread, NULL, parked_main, parked), 0);
	pause_ms(400); /* it is there, and held */
	return parked;
}

static void parked_wait(struct parked *parked)
{
	assert_int_equal(pthread_join(parked->thread, NULL), 0);
}

/* --- set-up --- */

static void make_key(const char *name, const char *more)
{
	char body[512];

	assert_int_equal(keyfile_create(key_dir, name), 0);
	snprintf(body, sizeof(body),
		 "{\"name\":\"%s\",\"provider\":\"file\",\"key_id\":\"%s\",\"directory\":\"%s\"%s}",
		 name, name, key_dir, more);
	key_admin("POST", "/v1/keys", body, 204);
}

static void make_workspace(const char *name, const char *key)
{
	char body[256], path[128];

	snprintf(body, sizeof(body), "{\"name\":\"%s\"}", name);
	key_admin("POST", "/v1/workspaces", body, 204);
	snprintf(body, sizeof(body), "{\"key\":\"%s\"}", key);
	snprintf(path, sizeof(path), "/v1/workspaces/%s/key", name);
	key_admin("PUT", path, body, 204);
}

#define QUICK                                                                                      \
	",\"poll_ms\":3000,\"lease_ms\":30000,\"margin_ms\":5000,\"max_staleness_ms\":20000,"      \
	"\"probe_ms\":500"

static void trust(void)
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

static int set_up(void **state)
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

static int tear_down(void **state)
{
	char command[128];

	if (manager_pid > 0)
		manager_stop();
	curl_global_cleanup();
	snprintf(command, sizeof(command), "rm -rf %s", top);
	return system(command);
}

/* What the fleet says of this boot; the caller drops it. */
static json_t *fleet_of(const struct vm *vm)
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

static void assert_fleet(const struct vm *vm, const char *state, const char *class)
{
	json_t *row = fleet_of(vm);

	assert_non_null(row);
	assert_string_equal(json_string_value(json_object_get(row, "state")), state);
	assert_string_equal(json_string_value(json_object_get(row, "class")), class);
	json_decref(row);
}

/* --- tests --- */

static void test_admit_and_renew(void **state)
{
	static struct answer answer;
	uint8_t first[TOKEN_SIZE];
	struct vm vm;
	json_t *row;

	vm_enrol(&vm, "w", "renew");
	vm_post_boot(&vm, &answer);
	vm_take(&vm, &answer, VERDICT_ADMIT, REASON_NONE);
	assert_int_equal(vm.token.cmk_state, CMK_HEALTHY);
	assert_int_equal(vm.token.expiry, EXPIRY_SHRED);
	assert_in_range(vm.token.ttl_ms, 15000, 20000); /* max_staleness, not the lease */
	/* Again: the same bytes. */
	memcpy(first, vm.token_bytes, TOKEN_SIZE);
	vm_post_boot(&vm, &answer);
	assert_int_equal(answer.status, 200);
	assert_memory_equal(answer.body, first, TOKEN_SIZE);
	assert_fleet(&vm, "admitted", "live");
	row = fleet_of(&vm);
	assert_string_equal(json_string_value(json_object_get(
				    json_array_get(json_object_get(row, "volumes"), 0), "name")),
			    "data");
	json_decref(row);
	/* The next is held for the poll interval. */
	new_challenge(&vm);
	vm_post_lease(&vm, &answer);
	vm_take(&vm, &answer, VERDICT_CONTINUE, REASON_NONE);
	assert_in_range(answer.took_ms, 2500, 6000);
	memcpy(first, vm.token_bytes, TOKEN_SIZE);
	vm_post_lease(&vm, &answer);
	assert_memory_equal(answer.body, first, TOKEN_SIZE);
	assert_true(answer.took_ms < 1500);
	/* An older one is ignored. */
	vm.number--;
	vm_post_lease(&vm, &answer);
	assert_int_equal(answer.status, 409);
	assert_fleet(&vm, "admitted", "live");
	vm_done(&vm);
}

static void test_unsigned(void **state)
{
	static struct answer answer;
	uint8_t body[BOOT_BODY_SIZE];
	struct vm vm, thief;

	vm_enrol(&vm, "w", "unsigned");
	/* Signed by a key that is not the VM's. */
	thief = (struct vm){.workspace = "w", .name = "unsigned"};
	random_key(&thief.key);
	vm_boot(&thief);
	vm_post_boot(&thief, &answer);
	assert_int_equal(answer.status, 401);
	/* Each part broken. */
	memcpy(body, vm.report, BOOT_REPORT_SIZE);
	vm_request(&vm, body + BOOT_REPORT_SIZE);
	body[BOOT_REPORT_SIZE - 1] ^= 1;
	post("/v1/boot", body, sizeof(body), &answer);
	assert_int_equal(answer.status, 401);
	body[BOOT_REPORT_SIZE - 1] ^= 1;
	body[BOOT_BODY_SIZE - 1] ^= 1;
	post("/v1/boot", body, sizeof(body), &answer);
	assert_int_equal(answer.status, 401);
	/* A request of another admission. */
	body[BOOT_BODY_SIZE - 1] ^= 1;
	thief.boot_key = signing_key_free(thief.boot_key);
	assert_null(fleet_of(&vm));
	post("/v1/boot", body, sizeof(body), &answer);
	assert_int_equal(answer.status, 200);
	vm_request(&vm, body);
	body[LEASE_REQUEST_SIZE - 1] ^= 1;
	post("/v1/lease", body, LEASE_REQUEST_SIZE, &answer);
	assert_int_equal(answer.status, 401);
	vm_done(&vm);
	vm_done(&thief);
}

static void test_malformed(void **state)
{
	static struct answer answer;
	static uint8_t zeros[8192];
	struct vm vm, unknown = {.workspace = "w", .name = "unknown"};

	vm_enrol(&vm, "w", "malformed");
	post("/v1/boot", zeros, BOOT_BODY_SIZE, &answer);
	assert_int_equal(answer.status, 400);
	post("/v1/boot", vm.report, BOOT_REPORT_SIZE, &answer);
	assert_int_equal(answer.status, 400);
	post("/v1/boot", zeros, BOOT_BODY_SIZE + 1, &answer);
	assert_int_equal(answer.status, 413);
	post("/v1/lease", zeros, LEASE_REQUEST_SIZE, &answer);
	assert_int_equal(answer.status, 400);
	post("/v1/receipt", zeros, RECEIPT_SIZE, &answer);
	assert_int_equal(answer.status, 400);
	vm_post_lease(&vm, &answer); /* its boot was never reported */
	assert_int_equal(answer.status, 409);
	random_key(&unknown.key);
	vm_boot(&unknown);
	vm_post_boot(&unknown, &answer);
	assert_int_equal(answer.status, 403);
	get("/v1/lease", &answer);
	assert_int_equal(answer.status, 405);
	get("/v1/fleet", &answer);
	assert_int_equal(answer.status, 404);
	get("/healthz", &answer);
	assert_int_equal(answer.status, 200);
	vm_done(&vm);
	vm_done(&unknown);
}

static void test_transport(void **state)
{
	static struct answer answer;
	struct curl_slist *headers = NULL;
	static char big[9000] = "x: ";
	CURL *curl;

	curl = handle_for(vm_url, "/healthz", &answer);
	curl_easy_setopt(curl, CURLOPT_HTTP_VERSION, CURL_HTTP_VERSION_1_1);
	perform(curl, &answer);
	assert_int_equal(answer.status, 0);
	curl = handle_for(vm_url, "/healthz", &answer);
	curl_easy_setopt(curl, CURLOPT_SSL_ENABLE_ALPN, 0L);
	perform(curl, &answer);
	assert_int_equal(answer.status, 0);
	curl = handle_for(vm_url, "/healthz", &answer);
	curl_easy_setopt(curl, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_MAX_TLSv1_2);
	perform(curl, &answer);
	assert_int_equal(answer.status, 0);
	/* Headers above the limit: no answer, and the manager lives on. */
	memset(big + 3, 'y', sizeof(big) - 4);
	headers = curl_slist_append(headers, big);
	curl = handle_for(vm_url, "/healthz", &answer);
	curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
	perform(curl, &answer);
	assert_int_equal(answer.status, 0);
	curl_slist_free_all(headers);
	/* The admin listener wants a certificate in the handshake, and not the VM's route. */
	assert_null(admin(NULL, "GET", "/v1/fleet", NULL, 0));
	json_decref(admin("operator", "GET", "/v1/fleet", NULL, 200));
	json_decref(admin("operator", "POST", "/v1/store/adopt", NULL, 403));
	json_decref(admin("key-administrator", "POST", "/v1/vms/w/renew/shred", NULL, 403));
	get("/healthz", &answer);
	assert_int_equal(answer.status, 200);
}

static void test_clone(void **state)
{
	static struct answer answer;
	struct parked *parked;
	struct vm vm, clone;

	vm_enrol(&vm, "w", "clone");
	vm_admit(&vm);
	/* Two with one number: the one that is parked, and the one that comes. */
	parked = park(&vm, false);
	clone = vm;
	clone.challenge[0] ^= 1;
	vm_post_lease(&clone, &answer);
	vm_take(&clone, &answer, VERDICT_SHRED, REASON_CLONE);
	parked_wait(parked);
	vm_take(&vm, &parked->answer, VERDICT_SHRED, REASON_CLONE);
	assert_true(parked->answer.took_ms < 2500);
	/* For ever, and in the same bytes. */
	vm.number += 10;
	vm_post_lease(&vm, &answer);
	assert_memory_equal(answer.body, clone.token_bytes, TOKEN_SIZE);
	assert_fleet(&vm, "shredding", "live");
	/* Against a lease that was issued. */
	vm_boot(&vm);
	vm_admit(&vm);
	vm.number--;
	vm_post_lease(&vm, &answer);
	vm_take(&vm, &answer, VERDICT_SHRED, REASON_CLONE);
	free(parked);
	vm_done(&vm);
}

static void test_supersede(void **state)
{
	static struct answer answer;
	struct parked *parked;
	struct vm old, new, other;

	vm_enrol(&old, "w", "supersede");
	vm_admit(&old);
	parked = park(&old, false);
	new = old;
	new.boot_key = NULL;
	vm_boot(&new);
	vm_admit(&new);
	parked_wait(parked);
	vm_take(&old, &parked->answer, VERDICT_SHRED, REASON_SUPERSEDED);
	assert_true(parked->answer.took_ms < 2500);
	assert_fleet(&old, "superseded", "live");
	vm_renew(&new);
	/* The old report again: no way back. */
	vm_post_boot(&old, &answer);
	vm_take(&old, &answer, VERDICT_SHRED, REASON_SUPERSEDED);
	/* A boot id is used once: by this VM ... */
	vm_boot(&old);
	memcpy(old.boot_id, new.boot_id, BOOT_ID_SIZE);
	{
		struct boot_report report;

		assert_int_equal(boot_report_decode(old.report, sizeof(old.report), &report), 0);
		memcpy(report.boot_id, new.boot_id, BOOT_ID_SIZE);
		assert_int_equal(boot_report_sign(old.key, old.boot_key, &report, old.report), 0);
		assert_int_equal(sha256(old.report, sizeof(old.report), old.admission), 0);
		vm_post_boot(&old, &answer);
		assert_int_equal(answer.status, 409);
		/* ... and by no other. */
		vm_enrol(&other, "w", "other");
		strcpy(report.vm, "other");
		assert_int_equal(boot_report_sign(other.key, other.boot_key, &report, other.report),
				 0);
		assert_int_equal(sha256(other.report, sizeof(other.report), other.admission), 0);
		vm_post_boot(&other, &answer);
		assert_int_equal(answer.status, 409);
	}
	free(parked);
	new.key = NULL;
	vm_done(&old);
	vm_done(&new);
	vm_done(&other);
}

static void vm_receipt(const struct vm *vm, enum receipt_kind kind, const uint8_t *previous,
		       uint64_t keys_gone_ns, uint8_t bytes[static RECEIPT_SIZE])
{
	struct receipt receipt = {
		.kind = kind,
		.reason = REASON_REVOKED,
		.start_ns = 1000,
		.keys_gone_ns = keys_gone_ns,
		.n_segments = 1,
		.segments = {{.volume = "data", .fate = SEGMENT_WIPED, .wiped_us = 5}},
	};

	memcpy(receipt.admission, vm->admission, HASH_SIZE);
	memcpy(receipt.previous, previous, HASH_SIZE);
	assert_int_equal(receipt_sign(vm->boot_key, &receipt, bytes), 0);
}

static void send_receipts(struct vm *vm)
{
	static struct answer answer;
	uint8_t bytes[RECEIPT_SIZE], hash[HASH_SIZE];
	struct signing_key *own = vm->boot_key;

	assert_int_equal(sha256(vm->token_bytes, TOKEN_SIZE, hash), 0);
	random_key(&vm->boot_key);
	vm_receipt(vm, RECEIPT_KEYS, hash, 2000, bytes);
	signing_key_free(vm->boot_key);
	vm->boot_key = own;
	post("/v1/receipt", bytes, sizeof(bytes), &answer); /* forged */
	assert_int_equal(answer.status, 401);
	vm_receipt(vm, RECEIPT_KEYS, hash, 2000, bytes);
	post("/v1/receipt", bytes, sizeof(bytes), &answer);
	assert_int_equal(answer.status, 204);
	assert_int_equal(sha256(bytes, sizeof(bytes), hash), 0);
	vm_receipt(vm, RECEIPT_CLOSING, hash, 2000, bytes);
	post("/v1/receipt", bytes, sizeof(bytes), &answer);
	assert_int_equal(answer.status, 204);
	post("/v1/receipt", bytes, sizeof(bytes), &answer); /* again */
	assert_int_equal(answer.status, 204);
}

static void test_revoke(void **state)
{
	static struct answer answer;
	char hex[2 * HASH_SIZE + 1], path[128];
	struct parked *parked;
	struct vm vm, bystander, late;
	uint64_t start;
	json_t *json;

	make_key("revocable", QUICK);
	make_workspace("r", "revocable");
	vm_enrol(&vm, "r", "revoke");
	vm_enrol(&late, "r", "late");
	vm_enrol(&bystander, "w", "bystander");
	vm_admit(&vm);
	vm_admit(&bystander);
	parked = park(&vm, false);
	start = now_ms();
	assert_int_equal(keyfile_set_state(key_dir, "revocable", KEYFILE_DISABLED), 0);
	parked_wait(parked);
	vm_take(&vm, &parked->answer, VERDICT_SHRED, REASON_REVOKED);
	assert_int_equal(vm.token.cmk_state, CMK_REVOKED);
	print_message("revoked → verdict in %d ms\n", (int)(parked->ended_ms - start));
	assert_true(parked->ended_ms - start < 2000);
	/* A boot that comes later; and again when the CMK is back: sticky. */
	vm_post_boot(&late, &answer);
	vm_take(&late, &answer, VERDICT_SHRED, REASON_REVOKED);
	assert_int_equal(keyfile_set_state(key_dir, "revocable", KEYFILE_ENABLED), 0);
	vm_boot(&late);
	vm_post_boot(&late, &answer);
	vm_take(&late, &answer, VERDICT_SHRED, REASON_REVOKED);
	send_receipts(&vm);
	assert_fleet(&vm, "off", "receipt");
	vm_post_lease(&vm, &answer);
	vm_take(&vm, &answer, VERDICT_SHRED, REASON_REVOKED);
	assert_fleet(&vm, "off", "receipt");
	hex_encode(vm.admission, HASH_SIZE, hex);
	snprintf(path, sizeof(path), "/v1/receipts/%s", hex);
	json = admin("operator", "GET", path, NULL, 200);
	assert_int_equal(json_array_size(json_object_get(json, "receipts")), 2);
	json_decref(json);
	/* Others do not notice. */
	vm_renew(&bystander);
	json = admin("operator", "GET", "/v1/keys/revocable", NULL, 200);
	assert_string_equal(json_string_value(json_object_get(json, "state")), "revoked");
	json_decref(json);
	/* Only with a live key is it cleared. */
	assert_int_equal(keyfile_set_state(key_dir, "revocable", KEYFILE_DISABLED), 0);
	key_admin("POST", "/v1/keys/revocable/clear", NULL, 409);
	assert_int_equal(keyfile_set_state(key_dir, "revocable", KEYFILE_ENABLED), 0);
	operate("POST", "/v1/keys/revocable/clear", 403);
	key_admin("POST", "/v1/keys/revocable/clear", NULL, 204);
	vm_boot(&late);
	vm_admit(&late);
	/* What was told to shred stays so. */
	vm_post_lease(&vm, &answer);
	vm_take(&vm, &answer, VERDICT_SHRED, REASON_REVOKED);
	free(parked);
	vm_done(&vm);
	vm_done(&late);
	vm_done(&bystander);
}

/* The customer takes the key away between a boot's report and its pair. */
static void test_revoked_before_boot(void **state)
{
	static struct answer answer;
	struct vm vm;

	make_key("gone", QUICK);
	make_workspace("g", "gone");
	vm_enrol(&vm, "g", "first");
	assert_int_equal(keyfile_delete(key_dir, "gone"), 0);
	vm_post_boot(&vm, &answer);
	vm_take(&vm, &answer, VERDICT_SHRED, REASON_REVOKED);
	vm_done(&vm);
}

static void test_evidence_ages(void **state)
{
	static struct answer answer;
	char away[96];
	uint64_t start;
	struct vm vm;

	make_key("absent", ",\"poll_ms\":1000,\"lease_ms\":30000,\"margin_ms\":2000,"
			   "\"max_staleness_ms\":10000,\"probe_ms\":500");
	make_workspace("a", "absent");
	vm_enrol(&vm, "a", "stale");
	vm_admit(&vm);
	/* Not reachable is not revoked: leases get shorter, then there are none. */
	snprintf(away, sizeof(away), "%s.away", key_dir);
	assert_int_equal(rename(key_dir, away), 0);
	start = now_ms();
	do {
		vm_post_lease(&vm, &answer);
		if (answer.status != 200)
			break;
		vm_take(&vm, &answer, VERDICT_CONTINUE, REASON_NONE);
		assert_true(now_ms() + vm.token.ttl_ms <= start + 10000 + 1500);
		new_challenge(&vm);
	} while (now_ms() - start < 15000);
	assert_int_equal(answer.status, 503);
	assert_true(answer.retry_after > 0);
	assert_int_equal(vm.token.cmk_state, CMK_UNAVAILABLE);
	assert_int_equal(rename(away, key_dir), 0);
	pause_ms(1500);
	vm_renew(&vm);
	vm_done(&vm);
}

static void test_confirm(void **state)
{
	char hex[2 * HASH_SIZE + 1], path[128];
	struct parked *parked;
	struct vm vm;

	make_key("held", QUICK ",\"confirm_boot\":true");
	make_workspace("h", "held");
	vm_enrol(&vm, "h", "held");
	parked = park(&vm, true);
	parked_wait(parked);
	assert_int_equal(parked->answer.status, 202);
	assert_int_equal(parked->answer.size, 0);
	assert_in_range(parked->answer.took_ms, 2500, 6000);
	assert_fleet(&vm, "held", "not admitted");
	free(parked);
	parked = park(&vm, true);
	hex_encode(vm.admission, HASH_SIZE, hex);
	snprintf(path, sizeof(path), "/v1/boots/%s/confirm", hex);
	operate("POST", path, 204);
	parked_wait(parked);
	vm_take(&vm, &parked->answer, VERDICT_ADMIT, REASON_NONE);
	assert_true(parked->answer.took_ms < 2500);
	operate("POST", path, 409);
	free(parked);
	vm_done(&vm);
}

static void test_operator_and_removal(void **state)
{
	static struct answer answer;
	struct parked *parked;
	struct vm vm;

	vm_enrol(&vm, "w", "removed");
	vm_admit(&vm);
	parked = park(&vm, false);
	operate("POST", "/v1/vms/w/removed/shred", 204);
	parked_wait(parked);
	vm_take(&vm, &parked->answer, VERDICT_SHRED, REASON_OPERATOR);
	free(parked);
	vm_boot(&vm);
	vm_admit(&vm);
	parked = park(&vm, false);
	operate("DELETE", "/v1/vms/w/removed", 204);
	parked_wait(parked);
	vm_take(&vm, &parked->answer, VERDICT_SHRED, REASON_REMOVED);
	vm_boot(&vm);
	vm_post_boot(&vm, &answer);
	assert_int_equal(answer.status, 403);
	free(parked);
	vm_done(&vm);
}

static void test_failed_boot(void **state)
{
	static struct answer answer;
	struct vm vm;

	vm_enrol(&vm, "w", "failed");
	strcpy(vm.failure, "volume data: no disk");
	vm_boot(&vm);
	for (int i = 0; i < 2; i++) {
		vm_post_boot(&vm, &answer);
		assert_int_equal(answer.status, 403);
	}
	assert_fleet(&vm, "failed", "not admitted");
	vm_done(&vm);
}

static void test_limits(void **state)
{
	static struct answer answer;
	struct vm vm;
	int admitted = 0;

	vm_enrol(&vm, "w", "limits");
	for (int i = 0; i < 10; i++) {
		vm_boot(&vm);
		vm_post_boot(&vm, &answer);
		if (answer.status != 200)
			break;
		admitted++;
	}
	assert_int_equal(answer.status, 429);
	assert_true(answer.retry_after > 0 && answer.retry_after <= 30);
	assert_int_equal(admitted, 6);
	vm_done(&vm);
}

static void test_warn(void **state)
{
	struct vm vm;

	make_key("warn", QUICK ",\"expiry\":\"warn\"");
	make_workspace("n", "warn");
	vm_enrol(&vm, "n", "warn");
	vm_admit(&vm);
	assert_int_equal(vm.token.expiry, EXPIRY_WARN);
	vm_done(&vm);
}

static void copy_store(const char *from, const char *to)
{
	char command[256];

	snprintf(command, sizeof(command), "cp %s/%s %s/%s && rm -f %s/manager.db-*", state_dir,
		 from, state_dir, to, state_dir);
	assert_int_equal(system(command), 0);
}

static void test_restart_and_rollback(void **state)
{
	static struct answer answer;
	struct sequence before;
	struct vm vm, bystander;

	vm_enrol(&vm, "w", "restart");
	make_key("calm", QUICK);
	make_workspace("c", "calm");
	vm_enrol(&bystander, "c", "calm");
	vm_admit(&vm);
	vm_admit(&bystander);
	/* Restarted: the lease goes on, the epoch rises, a retry still gets its answer. */
	manager_stop();
	copy_store("manager.db", "old.db");
	manager_start();
	before = vm.highest;
	vm_renew(&vm);
	assert_true(vm.highest.epoch > before.epoch);
	/* An older copy is put back: it never issued what the VM shows. */
	manager_stop();
	copy_store("old.db", "manager.db");
	manager_start();
	vm_post_lease(&vm, &answer);
	assert_int_equal(answer.status, 503);
	assert_true(answer.retry_after > 0);
	vm_post_lease(&vm, &answer);
	assert_int_equal(answer.status, 503);
	/* A workspace that shows nothing of the kind is not held up by another's VM. */
	vm_renew(&bystander);
	key_admin("POST", "/v1/store/adopt", NULL, 204);
	before = vm.highest;
	vm_renew(&vm);
	assert_true(sequence_compare(vm.highest, before) > 0);
	vm_renew(&bystander);
	/* Nobody issued this: no rollback, an invention. */
	vm.highest = (struct sequence){1ull << 60, 1};
	vm_post_lease(&vm, &answer);
	assert_int_equal(answer.status, 400);
	vm_done(&vm);
	vm_done(&bystander);
}

/* One that is parked when the manager ends, and one whose peer goes. */
static void test_gone(void **state)
{
	struct answer *answer = calloc(1, sizeof(*answer));
	uint8_t body[LEASE_REQUEST_SIZE];
	struct parked *parked;
	struct vm vm;
	CURL *curl;

	vm_enrol(&vm, "w", "gone");
	vm_admit(&vm);
	vm_request(&vm, body);
	curl = handle_for(vm_url, "/v1/lease", answer);
	curl_easy_setopt(curl, CURLOPT_POST, 1L);
	curl_easy_setopt(curl, CURLOPT_POSTFIELDS, body);
	curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE, (long)sizeof(body));
	curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, 500L);
	perform(curl, answer);
	assert_int_equal(answer->error, CURLE_OPERATION_TIMEDOUT);
	/* The parking is forgotten; the same challenge may be parked again. */
	parked = park(&vm, false);
	manager_stop();
	parked_wait(parked);
	assert_int_not_equal(parked->answer.error, CURLE_OK);
	manager_start();
	vm_renew(&vm);
	free(answer);
	free(parked);
	vm_done(&vm);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_admit_and_renew),
		cmocka_unit_test(test_unsigned),
		cmocka_unit_test(test_malformed),
		cmocka_unit_test(test_transport),
		cmocka_unit_test(test_clone),
		cmocka_unit_test(test_supersede),
		cmocka_unit_test(test_revoke),
		cmocka_unit_test(test_revoked_before_boot),
		cmocka_unit_test(test_evidence_ages),
		cmocka_unit_test(test_confirm),
		cmocka_unit_test(test_operator_and_removal),
		cmocka_unit_test(test_failed_boot),
		cmocka_unit_test(test_limits),
		cmocka_unit_test(test_warn),
		cmocka_unit_test(test_restart_and_rollback),
		cmocka_unit_test(test_gone),
	};

	if (argc == 3) {
		snprintf(state_dir, sizeof(state_dir), "%s", argv[1]);
		return child(atoi(argv[2]));
	}
	return cmocka_run_group_tests(tests, set_up, tear_down);
}
