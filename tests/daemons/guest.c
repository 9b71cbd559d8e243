/*
 * A simulated guest of a xenstored that runs with shim.c.
 *
 *   guest [-n] DIRECTORY DOMID SOCKET
 *
 * Acts as the toolstack and as the guest's kernel: creates the ring page and the event channel of
 * domain DOMID, creates /local/domain/DOMID as libxl does (not with -n), sends INTRODUCE to the
 * daemon, and listens on a Unix socket. The bytes of a client pass through the ring page, so the
 * daemon takes the client for domain DOMID: without privileges, subject to permissions and quotas,
 * and with rings of 1024 bytes.
 *
 * There is one ring, so one client is served at a time, and others wait in the listen queue. When a
 * client leaves, the ring is reset, which ends its watches and transactions. If the daemon cuts the
 * domain off after a violation of the protocol, the client is disconnected, and the domain is created
 * again; its nodes are lost.
 *
 * Prints "ready" when the domain is introduced and the socket listens. On SIGUSR1, the domain shuts
 * down. On SIGTERM or SIGINT, the domain is destroyed: the daemon fires @releaseDomain and removes
 * the domain's nodes.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <xen/xen.h>
#include <xen/io/xs_wire.h>

#include "layout.h"

#define mb() __atomic_thread_fence(__ATOMIC_SEQ_CST)
#define LOAD(x) __atomic_load_n(&(x), __ATOMIC_ACQUIRE)
#define STORE(x, v) __atomic_store_n(&(x), (v), __ATOMIC_RELEASE)

static const char *dir;
static unsigned int domid;
static uint32_t port = 1;
static char evt_path[PATH_MAX];
static const char *listen_path;
static struct xenstore_domain_interface *ring;
static int evt_fd, xs_fd, sig_fd;
static bool has_home = true;

__attribute__((format(printf, 1, 2), noreturn))
static void die(const char *fmt, ...)
{
    int err = errno;
    va_list ap;

    fprintf(stderr, "guest: ");
    va_start(ap, fmt);
    vfprintf(stderr, fmt, ap);
    va_end(ap);
    fprintf(stderr, " (%s)\n", strerror(err));
    exit(1);
}

__attribute__((format(printf, 2, 3)))
static void shim_path(char *buf, const char *fmt, ...)
{
    va_list ap;
    int n = snprintf(buf, PATH_MAX, "%s/" SHIM_SUBDIR "/", dir);

    va_start(ap, fmt);
    vsnprintf(buf + n, PATH_MAX - n, fmt, ap);
    va_end(ap);
}

static struct sockaddr_un unix_addr(const char *path)
{
    struct sockaddr_un sun = { .sun_family = AF_UNIX };

    if (strlen(path) >= sizeof(sun.sun_path)) {
        errno = ENAMETOOLONG;
        die("%s", path);
    }
    strcpy(sun.sun_path, path);
    return sun;
}

static int bound_socket(int type, const char *path)
{
    struct sockaddr_un sun = unix_addr(path);
    int fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);

    unlink(path);
    if (fd < 0 || bind(fd, (struct sockaddr *)&sun, sizeof(sun)))
        die("cannot bind %s", path);
    return fd;
}

/* --- The toolstack --- */

static void full_write(int fd, const void *data, size_t len)
{
    while (len) {
        ssize_t n = write(fd, data, len);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            die("lost xenstored");
        data = (const char *)data + n;
        len -= n;
    }
}

static void full_read(int fd, void *data, size_t len)
{
    while (len) {
        ssize_t n = read(fd, data, len);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            die("lost xenstored");
        data = (char *)data + n;
        len -= n;
    }
}

/* Sends a request as dom0. A '|' in the formatted text stands for a NUL. */
__attribute__((format(printf, 2, 3)))
static bool dom0_request(uint32_t type, const char *fmt, ...)
{
    char body[XENSTORE_PAYLOAD_MAX + 1];
    struct xsd_sockmsg msg = { .type = type };
    va_list ap;

    va_start(ap, fmt);
    msg.len = vsnprintf(body, sizeof(body), fmt, ap);
    va_end(ap);
    for (uint32_t i = 0; i < msg.len; i++)
        if (body[i] == '|')
            body[i] = '\0';

    full_write(xs_fd, &msg, sizeof(msg));
    full_write(xs_fd, body, msg.len);
    full_read(xs_fd, &msg, sizeof(msg));
    if (msg.len > XENSTORE_PAYLOAD_MAX) {
        errno = EPROTO;
        die("oversized reply");
    }
    full_read(xs_fd, body, msg.len);
    if (msg.type == XS_ERROR) {
        body[msg.len] = '\0';
        fprintf(stderr, "guest: request type %u: %s\n", type, body);
    }
    return msg.type != XS_ERROR;
}

static bool introduce(void)
{
    /* The frame number is unused, but has to stay the same. */
    return dom0_request(XS_INTRODUCE, "%u|%u|%u|", domid, domid + 0x10000, port);
}

static void create_home(void)
{
    const char *const owned[] = { "data", "device", "drivers", "feature",
                                  "attr", "error", "control" };

    dom0_request(XS_WRITE, "/local/domain/%u|", domid);
    dom0_request(XS_SET_PERMS, "/local/domain/%u|n0|r%u|", domid, domid);
    dom0_request(XS_WRITE, "/local/domain/%u/domid|%u", domid, domid);
    dom0_request(XS_SET_PERMS, "/local/domain/%u/domid|n0|r%u|", domid, domid);
    for (size_t i = 0; i < sizeof(owned) / sizeof(owned[0]); i++) {
        dom0_request(XS_WRITE, "/local/domain/%u/%s|", domid, owned[i]);
        dom0_request(XS_SET_PERMS, "/local/domain/%u/%s|n%u|", domid, owned[i],
                     domid);
    }
}

/* --- Event channels --- */

static void send_event(struct shim_event ev)
{
    struct sockaddr_un sun;
    char buf[PATH_MAX];

    shim_path(buf, "evtchn");
    sun = unix_addr(buf);
    while (sendto(evt_fd, &ev, sizeof(ev), 0, (struct sockaddr *)&sun,
                  sizeof(sun)) < 0)
        if (errno != EINTR)
            die("lost xenstored's event channel");
}

static void notify(void)
{
    send_event((struct shim_event){ domid, port });
}

static void mark(const char *what)
{
    char buf[PATH_MAX];
    int fd;

    shim_path(buf, "%u.%s", domid, what);
    fd = open(buf, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    if (fd >= 0)
        close(fd);
    send_event((struct shim_event){ domid, SHIM_PORT_VIRQ });
}

static void unmark(const char *what)
{
    char buf[PATH_MAX];

    shim_path(buf, "%u.%s", domid, what);
    unlink(buf);
}

static void drain_events(void)
{
    char c;

    while (recv(evt_fd, &c, 1, MSG_DONTWAIT) >= 0)
        ;
}

/* --- The ring --- */

/* Copies bytes from a buffer into the request ring, and returns their number. */
static uint32_t ring_put(const char *data, uint32_t len)
{
    XENSTORE_RING_IDX cons = LOAD(ring->req_cons), prod = ring->req_prod;
    uint32_t room = XENSTORE_RING_SIZE - (prod - cons), done = 0;

    if (len > room)
        len = room;
    for (; done < len; done++)
        ring->req[MASK_XENSTORE_IDX(prod + done)] = data[done];
    mb();
    STORE(ring->req_prod, prod + len);
    return len;
}

/* Copies bytes from the response ring into a buffer, and returns their number. */
static uint32_t ring_get(char *data, uint32_t len)
{
    XENSTORE_RING_IDX cons = ring->rsp_cons, prod = LOAD(ring->rsp_prod);
    uint32_t avail = prod - cons, done = 0;

    if (len > avail)
        len = avail;
    for (; done < len; done++)
        data[done] = ring->rsp[MASK_XENSTORE_IDX(cons + done)];
    mb();
    STORE(ring->rsp_cons, cons + len);
    return len;
}

/*
 * Resets the connection after a client has left, possibly within a message. A daemon with the feature
 * "reconnection" (oxenstored) is asked through the ring page. Other daemons reset the connection when
 * the domain is introduced again.
 */
static void reset_ring(void)
{
    if (LOAD(ring->error)) {
        fprintf(stderr, "guest: domain %u was cut off (error %u), recreating it\n",
                domid, ring->error);
        dom0_request(XS_RELEASE, "%u|", domid);
        memset(ring, 0, SHIM_PAGE_SIZE);
        if (has_home)
            create_home();
        if (!introduce())
            die("domain %u could not be introduced again", domid);
        drain_events();
        return;
    }

    STORE(ring->connection, XENSTORE_RECONNECT);
    if (ring->server_features & XENSTORE_SERVER_FEATURE_RECONNECTION) {
        for (int i = 0; i < 5000 && LOAD(ring->connection) == XENSTORE_RECONNECT; i++) {
            if (i % 100 == 0)
                notify();
            nanosleep(&(struct timespec){ 0, 1000000 }, NULL);
            drain_events();
        }
    } else if (!introduce()) {
        die("domain %u could not be introduced again", domid);
    }
    if (LOAD(ring->connection) != XENSTORE_CONNECTED) {
        errno = ETIMEDOUT;
        die("xenstored does not reset the ring");
    }
    drain_events();
}

/* --- Main loop --- */

static void handle_signal(void)
{
    struct signalfd_siginfo si;

    if (read(sig_fd, &si, sizeof(si)) != sizeof(si))
        return;
    if (si.ssi_signo == SIGUSR1) {
        mark("shutdown");
        return;
    }
    unlink(listen_path);
    mark("dead");
    unlink(evt_path);
    exit(0);
}

/*
 * Bytes of the client that are not in the ring yet. Only whole messages go into the ring, because
 * xenstored 4.17 fails if a ring is reset that holds half a message. An oversized message is copied
 * in pieces, since the daemon cuts the domain off for it.
 */
static struct {
    char data[4 * XENSTORE_PAYLOAD_MAX];
    uint32_t have;      /* bytes received */
    uint32_t whole;     /* of these, the bytes of whole messages */
    uint32_t put;       /* of these, the bytes in the ring */
} in;

static bool in_receive(int client)
{
    ssize_t n = read(client, in.data + in.have, sizeof(in.data) - in.have);

    if (n <= 0)
        return n < 0 && errno == EINTR;
    in.have += n;
    while (in.have - in.whole >= sizeof(struct xsd_sockmsg)) {
        struct xsd_sockmsg msg;

        memcpy(&msg, in.data + in.whole, sizeof(msg));
        if (msg.len > XENSTORE_PAYLOAD_MAX)
            in.whole = in.have;
        else if (in.have - in.whole >= sizeof(msg) + msg.len)
            in.whole += sizeof(msg) + msg.len;
        else
            break;
    }
    return true;
}

/* Returns whether bytes were copied. */
static bool in_put(void)
{
    uint32_t n = ring_put(in.data + in.put, in.whole - in.put);

    in.put += n;
    if (in.put == in.whole) {
        in.have -= in.whole;
        memmove(in.data, in.data + in.whole, in.have);
        in.put = in.whole = 0;
    }
    if (n)
        notify();
    return n > 0;
}

/* Lets the daemon complete the requests of a client that has left. */
static void drain(void)
{
    char discarded[XENSTORE_RING_SIZE];

    for (int i = 0; i < 5000 && !LOAD(ring->error); i++) {
        bool idle = !in_put();

        if (ring_get(discarded, sizeof(discarded))) {
            notify();
            idle = false;
        }
        drain_events();
        if (idle) {
            if (in.put == in.whole && LOAD(ring->req_cons) == ring->req_prod)
                break;
            nanosleep(&(struct timespec){ 0, 1000000 }, NULL);
        }
    }
    in.have = in.whole = in.put = 0;
}

static void serve(int client)
{
    char out[XENSTORE_RING_SIZE];
    uint32_t out_len = 0, out_pos = 0;
    bool work = true;

    for (;;) {
        struct pollfd p[] = {
            { .fd = sig_fd, .events = POLLIN },
            { .fd = evt_fd, .events = POLLIN },
            { .fd = client, .events = 0 },
        };

        if (in.put == in.whole)
            p[2].events |= POLLIN;
        if (out_pos < out_len)
            p[2].events |= POLLOUT;
        if (!p[2].events)
            p[2].fd = -1;               /* otherwise POLLHUP would return at once */

        /* The daemon raises no event when it cuts the domain off, hence the timeout. */
        if (poll(p, 3, work ? 0 : 200) < 0 && errno != EINTR)
            die("poll");
        if (LOAD(ring->error))
            return;
        if (p[0].revents)
            handle_signal();
        if (p[1].revents)
            drain_events();
        if (p[2].revents & POLLERR)
            return;
        if (p[2].revents & (POLLIN | POLLHUP) && in.put == in.whole &&
            !in_receive(client))
            return;

        work = in_put();
        if (out_pos == out_len) {
            out_pos = 0;
            out_len = ring_get(out, sizeof(out));
            if (out_len) {
                work = true;
                notify();
            }
        }
        if (out_pos < out_len) {
            ssize_t n = send(client, out + out_pos, out_len - out_pos,
                             MSG_DONTWAIT | MSG_NOSIGNAL);

            if (n > 0)
                out_pos += n;
            else if (errno != EAGAIN && errno != EINTR)
                return;
        }
    }
}

int main(int argc, char **argv)
{
    struct sockaddr_un sun;
    char buf[PATH_MAX];
    sigset_t sigs;
    int fd, listener;

    if (argc > 1 && !strcmp(argv[1], "-n")) {
        has_home = false;
        argc--;
        argv++;
    }
    if (argc != 4 || !(domid = strtoul(argv[2], NULL, 10))) {
        fprintf(stderr, "usage: guest [-n] DIRECTORY DOMID SOCKET\n");
        return 2;
    }
    dir = argv[1];
    listen_path = argv[3];

    if (getenv("XENSTORED_SHIM_PDEATHSIG"))
        prctl(PR_SET_PDEATHSIG, SIGTERM);
    signal(SIGPIPE, SIG_IGN);
    sigemptyset(&sigs);
    sigaddset(&sigs, SIGTERM);
    sigaddset(&sigs, SIGINT);
    sigaddset(&sigs, SIGUSR1);
    sigprocmask(SIG_BLOCK, &sigs, NULL);
    sig_fd = signalfd(-1, &sigs, SFD_CLOEXEC);

    unmark("dead");
    unmark("shutdown");

    shim_path(buf, "%u.ring", domid);
    fd = open(buf, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0 || ftruncate(fd, SHIM_PAGE_SIZE))
        die("%s", buf);
    ring = mmap(NULL, SHIM_PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (ring == MAP_FAILED)
        die("mmap");
    close(fd);
    memset(ring, 0, SHIM_PAGE_SIZE);

    shim_path(evt_path, "%u-%u.evt", domid, port);
    evt_fd = bound_socket(SOCK_DGRAM, evt_path);

    snprintf(buf, sizeof(buf), "%s/socket", dir);
    sun = unix_addr(buf);
    xs_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connect(xs_fd, (struct sockaddr *)&sun, sizeof(sun)))
        die("%s", buf);
    if (has_home)
        create_home();
    if (!introduce())
        die("domain %u could not be introduced", domid);

    listener = bound_socket(SOCK_STREAM, listen_path);
    if (listen(listener, 16))
        die("listen");
    puts("ready");
    fflush(stdout);

    for (;;) {
        struct pollfd p[] = {
            { .fd = sig_fd, .events = POLLIN },
            { .fd = evt_fd, .events = POLLIN },
            { .fd = listener, .events = POLLIN },
        };

        if (poll(p, 3, -1) < 0 && errno != EINTR)
            die("poll");
        if (p[0].revents)
            handle_signal();
        if (p[1].revents)
            drain_events();
        if (p[2].revents) {
            int client = accept4(listener, NULL, NULL, SOCK_CLOEXEC);

            if (client < 0)
                continue;
            serve(client);
            close(client);
            drain();
            reset_ring();
        }
    }
}
