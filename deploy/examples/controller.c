/* The controller of a pump or a vending machine that sells through Surtidor: one sale, from filling to the receipt.
 *     cc -std=c11 -o controller controller.c && ./controller /run/surtidor/control.sock PUMP1 18525.50 "SUPER 23.45 L"
 * It is the same program for an unattended, an attended and an intent point of sale. A sale that was cut off is
 * finished first; without an amount nothing else is done. Ctrl-C is the machine's cancel button.
 * Exit codes: 0 delivered, 1 refused by Surtidor, 2 usage, 3 not reached, 4 not paid, 5 paid and not delivered. */
#define _DEFAULT_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { NONE, ANY };
enum phase { IDLE, BEGUN, ASKED, RELEASING, RELEASED };
static struct sockaddr_un control = {.sun_family = AF_UNIX};
static sigset_t button;
static const char *pos, *answer; /* The point of sale's name, and the body of the last answer. */
static int file; /* What survives a power cut: how far the sale has come, and the last event heard; 0 is the oldest. */
static struct { unsigned long long heard; enum phase phase; char reference[33], order[512]; } sale;

/* Where a value of JSON ends, or a member: at its comma or bracket. Surtidor writes JSON without spaces. */
static const char *past(const char *p) {
    for (int depth = 0, quoted = 0; *p; p++) {
        if (*p == '\\' && p[1]) p++;
        else if (*p == '"') quoted = !quoted;
        else if (!quoted && strchr("{[", *p)) depth++;
        else if (!quoted && strchr(depth ? "}]" : ",}]", *p) && depth-- == 0) break;
    }
    return p;
}

/* The value of an object's member; empty if there is none. */
static const char *member(const char *object, const char *name) {
    size_t length = strlen(name);
    for (const char *p = object + (*object == '{'); *p == '"'; p = past(p), p += *p == ',')
        if (!strncmp(p + 1, name, length) && !strncmp(p + 1 + length, "\":", 2)) return p + length + 3;
    return "";
}

/* Whether the button was pressed. It waits until we look, so it cuts no step in two. */
static int canceled_within(int seconds) {
    return sigtimedwait(&button, NULL, &(struct timespec){.tv_sec = seconds}) == SIGINT;
}

/* Puts the sale on the disk before anything is done that depends on it. */
static void keep(enum phase phase) {
    sale.phase = phase;
    if (pwrite(file, &sale, sizeof sale, 0) != sizeof sale || fsync(file)) perror("the sale is not kept"), exit(1);
}

/* Makes a call until it is answered. All may be made again: Surtidor does nothing twice. One refusal may be fine. */
static void ask(int fine, const char *method, const char *what, const char *name, const char *rest, const char *body) {
    static char reply[2 << 20]; /* A page of the feed has little more than a mebibyte. */
    for (;;) {
        ssize_t got, have = 0;
        int wire = socket(AF_UNIX, SOCK_STREAM, 0);
        setsockopt(wire, SOL_SOCKET, SO_RCVTIMEO, &(struct timeval){.tv_sec = 30}, sizeof(struct timeval));
        if (connect(wire, (struct sockaddr *)&control, sizeof control) == 0)
            dprintf(wire, "%s /v1/%s%s%s HTTP/1.1\r\nHost: surtidor\r\nConnection: close\r\n"
                    "Content-Length: %zu\r\n\r\n%s", method, what, name, rest, strlen(body), body);
        while ((got = read(wire, reply + have, sizeof reply - 1 - have)) > 0) have += got;
        close(wire);
        reply[have] = 0;
        char *length = strstr(reply, "content-length: "), *end = strstr(reply, "\r\n\r\n");
        answer = got == 0 && end && (!length || strlen(end + 4) == strtoul(length + 16, NULL, 10)) ? end + 4 : NULL;
        int status = answer ? atoi(reply + strlen("HTTP/1.1 ")) : 0;
        if (status >= 400) printf("refused: %s\n", answer); /* With a code for programs, and a detail for people. */
        if (status && (status < 400 || status == fine || fine == ANY)) return;
        /* Refused for good is forgotten. But a full disk may take it yet, and who waits for money goes on waiting. */
        if (400 <= status && status < 500 && sale.phase != ASKED) keep(IDLE);
        if (status && status != 503) exit(1); /* That is `busy` or the like: it passes. */
        puts("asked again in a second");
        if (canceled_within(1)) puts("left as it is: start me again to finish"), exit(3);
    }
}

static void begin(const char *amount, const char *title) { /* Neither has quotes or backslashes. */
    ask(NONE, "PUT", "pos/", pos, "/state", "{\"state\":\"in_process\",\"message\":\"Filling.\",\"lease_seconds\":30}");
    puts("filling");
    if (canceled_within(1)) ask(NONE, "PUT", "pos/", pos, "/state", "{\"state\":\"unavailable\"}"), exit(4);
    /* A reference is never used again. Clocks and counters may begin anew after a power cut, so it is random. */
    unsigned long long random[2];
    if (getentropy(random, sizeof random)) perror("random"), exit(1);
    snprintf(sale.reference, sizeof sale.reference, "%016llx%016llx", random[0], random[1]);
    snprintf(sale.order, sizeof sale.order, "{\"external_reference\":\"%s\",\"amount\":\"%s\",\"title\":\"%s\"}",
             sale.reference, amount, title);
    keep(BEGUN);
}

/* Listens until the order ends: was it paid? Whether a cancel came in time is heard here as well. */
static int was_paid(void) {
    for (int turn = 0;; turn++) {
        if (turn % 5 == 0) ask(NONE, "PUT", "pos/", pos, "/lease", "{\"seconds\":30}"); /* We are alive. */
        if (canceled_within(0)) ask(ANY, "DELETE", "pos/", pos, "/order", "");
        char after[64];
        snprintf(after, sizeof after, "&wait=2&after=%llu", sale.heard);
        ask(410, "GET", "events?pos=", pos, after, "");
        const char *event = member(answer, "events");
        for (event += *event == '['; *event == '{'; event = past(event), event += *event == ',') {
            char type[32] = "", whose[65] = "";
            sscanf(member(event, "type"), "\"%31[^\"]", type);
            sscanf(member(event, "external_reference"), "\"%64[^\"]", whose);
            sscanf(member(event, "seq"), "%llu", &sale.heard);
            int ours = !strcmp(whose, sale.reference);
            if (ours || !strcmp(type, "late_payment")) printf("%s %.*s\n", type, (int)(past(event) - event), event);
            if (ours && !strcmp(type, "payment_rejected")) puts("the customer may try again, unless it ends");
            if (ours && !strcmp(type, "order_paid")) return 1;
            if (ours && strstr("order_rejected order_expired order_canceled order_replaced", type)) return 0;
        }
        if (sscanf(member(answer, "next"), "%llu", &sale.heard) != 1) sale.heard = 0; /* 410: from the oldest on. */
    }
}

/* Takes the sale up where it stands, and gives the exit code. */
static int finish(void) {
    if (sale.phase == BEGUN) ask(NONE, "PUT", "pos/", pos, "/order", sale.order), keep(ASKED);
    if (sale.phase == ASKED) {
        if (!was_paid()) return keep(IDLE), 4;
        keep(RELEASING); /* From here on it is never released again. */
        printf("releasing %s\n", sale.reference);
        sleep(1); /* Here the valve opens, the spiral turns. */
        keep(RELEASED);
    }
    int done = sale.phase == RELEASED; /* Else we were cut off. A sensor would know what came out; we do not. */
    ask(NONE, "PUT", "orders/", sale.reference, "/delivery",
        done ? "{\"result\":\"dispensed\"}" : "{\"result\":\"failed\",\"reason\":\"The controller was cut off.\"}");
    ask(NONE, "GET", "orders/", sale.reference, "/receipt?width=32", "");
    fputs(answer, stdout);
    return keep(IDLE), done ? 0 : 5;
}

int main(int argc, char **argv) {
    if (argc != 3 && argc != 5) return puts("usage: controller SOCKET POS [AMOUNT TITLE]"), 2;
    char name[80];
    snprintf(name, sizeof name, "%s.record", pos = argv[2]);
    file = open(name, O_RDWR | O_CREAT, 0600);
    if (file < 0 || pread(file, &sale, sizeof sale, 0) < 0) return perror(name), 1;
    fsync(open(".", O_RDONLY)); /* Its name, too, must be on the disk. */
    snprintf(control.sun_path, sizeof control.sun_path, "%s", argv[1]);
    sigemptyset(&button), sigaddset(&button, SIGINT), sigprocmask(SIG_BLOCK, &button, NULL);
    signal(SIGPIPE, SIG_IGN), setvbuf(stdout, NULL, _IOLBF, 0);
    int code = sale.phase == IDLE ? 0 : finish();
    if (argc == 5) begin(argv[3], argv[4]), code = finish();
    return code;
}
