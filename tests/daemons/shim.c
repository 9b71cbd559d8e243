/*
 * A preloaded library with which an unmodified xenstored, in C or OCaml, runs on a machine without
 * the Xen hypervisor.
 *
 * It replaces the functions of libxenctrl, libxenevtchn, libxengnttab and libxenmanage that the
 * daemons call, and redirects the file names that are fixed in the daemons to one directory, so that
 * several daemons can run at the same time. The Xenstore protocol is left to the daemon: sockets,
 * rings, permissions, quotas, transactions and watches.
 *
 * Environment:
 *   XENSTORED_SHIM_DIR         the directory of the socket, as an absolute path
 *   XENSTORED_SHIM_DOMAINS     the domains that exist, for example "1-5,7" (default: all);
 *                              domain 0 always exists
 *   XENSTORED_SHIM_PDEATHSIG   if set, the daemon dies with its parent
 *   XENSTORED_SHIM_DEBUG       if set, the library logs to standard error
 *
 * layout.h describes the files in the subdirectory "shim".
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#define XC_WANT_COMPAT_MAP_FOREIGN_API
#include <xenctrl.h>
#include <xenevtchn.h>
#include <xengnttab.h>

#include "layout.h"

#define DOMID_LIMIT 0x7ff0u             /* DOMID_FIRST_RESERVED */

/* --- Basics --- */

static bool debugging;

#define dbg(...)                                                        \
    do {                                                                \
        if (debugging) {                                                \
            fprintf(stderr, "shim: " __VA_ARGS__);                      \
            fputc('\n', stderr);                                        \
        }                                                               \
    } while (0)

static const char *base_dir(void)
{
    static const char *dir;

    if (!dir) {
        dir = getenv("XENSTORED_SHIM_DIR");
        if (!dir || dir[0] != '/') {
            fprintf(stderr, "shim: XENSTORED_SHIM_DIR must be an absolute path\n");
            _exit(1);
        }
    }
    return dir;
}

/* Formats "<dir>/shim/<name>" into a buffer of PATH_MAX bytes. */
__attribute__((format(printf, 2, 3)))
static const char *shim_path(char *buf, const char *fmt, ...)
{
    va_list ap;
    int n = snprintf(buf, PATH_MAX, "%s/" SHIM_SUBDIR "/", base_dir());

    va_start(ap, fmt);
    vsnprintf(buf + n, PATH_MAX - n, fmt, ap);
    va_end(ap);
    return buf;
}

__attribute__((constructor))
static void shim_start(void)
{
    debugging = getenv("XENSTORED_SHIM_DEBUG") != NULL;

    if (getenv("XENSTORED_SHIM_PDEATHSIG"))
        prctl(PR_SET_PDEATHSIG, SIGKILL);
}

/* --- File names --- */

/*
 * The C daemon reads XENSTORED_RUNDIR, but the directories of oxenstored and the two files of dom0's
 * kernel are fixed. The first match counts.
 */
static const struct {
    const char *from, *to;
} redirects[] = {
    { "/proc/xen/xsd_kva",   "/" SHIM_SUBDIR "/0.ring" },
    { "/proc/xen/xsd_port",  "/" SHIM_SUBDIR "/xsd_port" },
    { "/var/run/xenstored",  "" },
    { "/run/xenstored",      "" },
    { "/var/lib/xenstored",  "" },
    { "/var/run/xen",        "" },
    { "/var/log/xen",        "" },
    { "/var/lib/xen",        "" },
};

static const char *redirect(const char *path, char *buf)
{
    if (!path || path[0] != '/')
        return path;

    for (size_t i = 0; i < sizeof(redirects) / sizeof(redirects[0]); i++) {
        size_t len = strlen(redirects[i].from);

        if (!strncmp(path, redirects[i].from, len) &&
            (path[len] == '\0' || path[len] == '/')) {
            snprintf(buf, PATH_MAX, "%s%s%s", base_dir(), redirects[i].to,
                     path + len);
            dbg("%s -> %s", path, buf);
            return buf;
        }
    }
    return path;
}

/* The function that this library replaces. */
#define NEXT(name) ({                                                   \
    static __typeof__(&name) fn_;                                       \
    if (!fn_)                                                           \
        fn_ = (__typeof__(&name))dlsym(RTLD_NEXT, #name);               \
    fn_; })

#define OPEN_WRAPPER(name)                                              \
int name(const char *path, int flags, ...)                              \
{                                                                       \
    char buf[PATH_MAX];                                                 \
    mode_t mode = 0;                                                    \
    va_list ap;                                                         \
                                                                        \
    if (flags & (O_CREAT | O_TMPFILE)) {                                \
        va_start(ap, flags);                                            \
        mode = va_arg(ap, mode_t);                                      \
        va_end(ap);                                                     \
    }                                                                   \
    return NEXT(name)(redirect(path, buf), flags, mode);                \
}

OPEN_WRAPPER(open)
OPEN_WRAPPER(open64)

#define PATH_WRAPPER(name, decl, call)                                  \
int name decl                                                           \
{                                                                       \
    char buf[PATH_MAX];                                                 \
                                                                        \
    return NEXT(name) call;                                             \
}

#define R(path) redirect(path, buf)
PATH_WRAPPER(unlink, (const char *path), (R(path)))
PATH_WRAPPER(mkdir, (const char *path, mode_t mode), (R(path), mode))
PATH_WRAPPER(chmod, (const char *path, mode_t mode), (R(path), mode))
PATH_WRAPPER(access, (const char *path, int mode), (R(path), mode))
PATH_WRAPPER(stat, (const char *path, struct stat *st), (R(path), st))
PATH_WRAPPER(stat64, (const char *path, struct stat64 *st), (R(path), st))
#undef R

int rename(const char *from, const char *to)
{
    char buf1[PATH_MAX], buf2[PATH_MAX];

    return NEXT(rename)(redirect(from, buf1), redirect(to, buf2));
}

static int bind_path(int fd, const char *path)
{
    struct sockaddr_un sun = { .sun_family = AF_UNIX };

    if (strlen(path) >= sizeof(sun.sun_path)) {
        fprintf(stderr, "shim: %s: too long for a socket\n", path);
        errno = ENAMETOOLONG;
        return -1;
    }
    strcpy(sun.sun_path, path);
    return NEXT(bind)(fd, (struct sockaddr *)&sun, sizeof(sun));
}

int bind(int fd, const struct sockaddr *addr, socklen_t len)
{
    const struct sockaddr_un *sun = (const void *)addr;
    char path[sizeof(sun->sun_path) + 1], buf[PATH_MAX];
    const char *to;

    if (!addr || addr->sa_family != AF_UNIX ||
        len <= offsetof(struct sockaddr_un, sun_path) || !sun->sun_path[0])
        return NEXT(bind)(fd, addr, len);

    len -= offsetof(struct sockaddr_un, sun_path);
    if (len > sizeof(sun->sun_path))
        len = sizeof(sun->sun_path);
    memcpy(path, sun->sun_path, len);
    path[len] = '\0';

    to = redirect(path, buf);
    return bind_path(fd, to);
}

/*
 * oxenstored raises its limit of open files to the maximum of the system, and ends if it lacks
 * CAP_SYS_RESOURCE, as in a container. The hard limit has to suffice then.
 */
int setrlimit(__rlimit_resource_t resource, const struct rlimit *want)
{
    struct rlimit have;
    int rc = NEXT(setrlimit)(resource, want);

    if (rc && errno == EPERM && resource == RLIMIT_NOFILE &&
        !getrlimit(resource, &have)) {
        dbg("limit of open files left at %llu", (unsigned long long)have.rlim_max);
        have.rlim_cur = have.rlim_max;
        rc = NEXT(setrlimit)(resource, &have);
    }
    return rc;
}

/* --- Domains --- */

static bool marker(unsigned int domid, const char *what)
{
    char buf[PATH_MAX];

    return NEXT(access)(shim_path(buf, "%u.%s", domid, what), F_OK) == 0;
}

static bool domid_configured(unsigned int domid)
{
    const char *p = getenv("XENSTORED_SHIM_DOMAINS");

    if (domid >= DOMID_LIMIT)
        return false;
    if (!domid || !p)
        return true;

    while (*p) {
        char *end;
        unsigned long lo = strtoul(p, &end, 10), hi = lo;

        if (end == p)
            return false;
        if (*end == '-')
            hi = strtoul(end + 1, &end, 10);
        if (domid >= lo && domid <= hi)
            return true;
        p = *end == ',' ? end + 1 : end;
    }
    return false;
}

static bool domid_exists(unsigned int domid)
{
    return domid_configured(domid) && !marker(domid, "dead");
}

/* Maps the ring page of a domain, and creates it if necessary. */
static void *map_ring(unsigned int domid)
{
    char buf[PATH_MAX];
    void *page;
    int fd;

    if (!domid_exists(domid)) {
        errno = ESRCH;
        return NULL;
    }

    fd = NEXT(open)(shim_path(buf, "%u.ring", domid),
                    O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        return NULL;
    if (ftruncate(fd, SHIM_PAGE_SIZE)) {
        close(fd);
        return NULL;
    }
    page = mmap(NULL, SHIM_PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    dbg("ring page of domain %u mapped at %p", domid, page);
    return page == MAP_FAILED ? NULL : page;
}

/* --- libxenctrl --- */

/* The handle is opaque. OCaml stores it, and needs an even address. */
static long fake_xc;

xc_interface *xc_interface_open(xentoollog_logger *logger,
                                xentoollog_logger *dombuild_logger,
                                unsigned int open_flags)
{
    return (xc_interface *)&fake_xc;
}

int xc_interface_close(xc_interface *xch)
{
    return 0;
}

const xc_error *xc_get_last_error(xc_interface *xch)
{
    static const xc_error none = { .code = XC_ERROR_NONE };

    return &none;
}

/* Used by the C daemon up to Xen 4.18. */
int xc_domain_getinfo(xc_interface *xch, uint32_t first, unsigned int max,
                      xc_dominfo_t *info)
{
    unsigned int n = 0;

    for (uint32_t domid = first; n < max && domid < DOMID_LIMIT; domid++) {
        if (!domid_exists(domid))
            continue;
        memset(&info[n], 0, sizeof(info[n]));
        info[n].domid = domid;
        info[n].shutdown = marker(domid, "shutdown");
        info[n].running = !info[n].shutdown;
        n++;
    }
    return n;
}

/* Used by oxenstored. */
int xc_domain_getinfolist(xc_interface *xch, uint32_t first, unsigned int max,
                          xc_domaininfo_t *info)
{
    unsigned int n = 0;

    for (uint32_t domid = first; n < max && domid < DOMID_LIMIT; domid++) {
        if (!domid_exists(domid))
            continue;
        memset(&info[n], 0, sizeof(info[n]));
        info[n].domain = domid;
        info[n].flags = marker(domid, "shutdown") ? XEN_DOMINF_shutdown
                                                  : XEN_DOMINF_running;
        n++;
    }
    return n;
}

/*
 * Used by both daemons of Xen 4.20, whose structure has another size than that of the headers here.
 * The fields up to the flags are the same.
 */
int xc_domain_getinfo_single(xc_interface *xch, uint32_t domid,
                             xc_domaininfo_t *info)
{
    if (!domid_exists(domid)) {
        errno = ESRCH;
        return -1;
    }
    memset(info, 0, offsetof(xc_domaininfo_t, flags) + sizeof(info->flags));
    info->domain = domid;
    info->flags = marker(domid, "shutdown") ? XEN_DOMINF_shutdown
                                            : XEN_DOMINF_running;
    return 0;
}

/* Used by oxenstored, which unmaps the page by itself. */
void *xc_map_foreign_range(xc_interface *xch, uint32_t domid, int size,
                           int prot, unsigned long mfn)
{
    return map_ring(domid);
}

/* --- libxengnttab --- */

/* Used by the C daemon to map a guest's ring page. */
static long fake_gnttab;

xengnttab_handle *xengnttab_open(xentoollog_logger *logger, unsigned int flags)
{
    return (xengnttab_handle *)&fake_gnttab;
}

int xengnttab_close(xengnttab_handle *xgt)
{
    return 0;
}

int xengnttab_set_max_grants(xengnttab_handle *xgt, uint32_t nr)
{
    return 0;
}

void *xengnttab_map_grant_ref(xengnttab_handle *xgt, uint32_t domid,
                              uint32_t ref, int prot)
{
    return map_ring(domid);
}

int xengnttab_unmap(xengnttab_handle *xgt, void *start, uint32_t count)
{
    return munmap(start, (size_t)count * SHIM_PAGE_SIZE);
}

/* --- libxenevtchn --- */

/*
 * The handle is a datagram socket, which is readable while an event is pending, like
 * /dev/xen/evtchn. Port numbers are indices of a table, which is a mapped file, because it has to
 * survive a live update of the daemon.
 */
#define MAX_PORTS 4096                  /* port 0 is never used */

enum { PORT_FREE, PORT_VIRQ, PORT_INTERDOMAIN };

struct port {
    uint32_t kind, domid, remote;
};

struct xenevtchn_handle {
    int fd;
    struct port *ports;
};

/* The domains of interrupts that libxenmanage has not reported yet. */
static uint32_t changed[64];
static unsigned int nr_changed;

static xenevtchn_handle *new_handle(int fd, bool keep_table)
{
    xenevtchn_handle *xce = calloc(1, sizeof(*xce));
    size_t size = MAX_PORTS * sizeof(struct port);
    char buf[PATH_MAX];
    int tab;

    if (!xce)
        return NULL;

    xce->fd = fd;
    tab = NEXT(open)(shim_path(buf, "evtchn.tab"),
                     O_RDWR | O_CREAT | O_CLOEXEC | (keep_table ? 0 : O_TRUNC),
                     0600);
    if (tab >= 0 && !ftruncate(tab, size))
        xce->ports = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED,
                          tab, 0);
    if (tab >= 0)
        close(tab);
    if (!xce->ports || xce->ports == MAP_FAILED) {
        free(xce);
        return NULL;
    }
    return xce;
}

xenevtchn_handle *xenevtchn_open(xentoollog_logger *logger, unsigned int flags)
{
    char buf[PATH_MAX];
    int fd, type = SOCK_DGRAM;

    if (!(flags & XENEVTCHN_NO_CLOEXEC))
        type |= SOCK_CLOEXEC;
    fd = socket(AF_UNIX, type, 0);
    if (fd < 0)
        return NULL;

    shim_path(buf, "evtchn");
    NEXT(unlink)(buf);
    if (bind_path(fd, buf)) {
        close(fd);
        return NULL;
    }
    return new_handle(fd, false);
}

/* After a live update, the new program inherits the descriptor. */
xenevtchn_handle *xenevtchn_fdopen(xentoollog_logger *logger, int fd,
                                   unsigned int flags)
{
    return new_handle(fd, true);
}

int xenevtchn_close(xenevtchn_handle *xce)
{
    if (xce) {
        munmap(xce->ports, MAX_PORTS * sizeof(struct port));
        close(xce->fd);
        free(xce);
    }
    return 0;
}

int xenevtchn_fd(xenevtchn_handle *xce)
{
    return xce->fd;
}

static int new_port(xenevtchn_handle *xce, struct port want)
{
    for (int i = 1; i < MAX_PORTS; i++) {
        if (xce->ports[i].kind == PORT_FREE) {
            xce->ports[i] = want;
            dbg("local port %d: kind %u domain %u remote port %u", i,
                want.kind, want.domid, want.remote);
            return i;
        }
    }
    errno = ENOSPC;
    return -1;
}

static bool port_is(xenevtchn_handle *xce, unsigned int port, uint32_t kind)
{
    return port < MAX_PORTS && xce->ports[port].kind == kind;
}

xenevtchn_port_or_error_t xenevtchn_bind_interdomain(xenevtchn_handle *xce,
                                                     uint32_t domid,
                                                     evtchn_port_t remote)
{
    if (!domid_exists(domid)) {
        errno = ESRCH;
        return -1;
    }
    return new_port(xce, (struct port){ PORT_INTERDOMAIN, domid, remote });
}

xenevtchn_port_or_error_t xenevtchn_bind_virq(xenevtchn_handle *xce,
                                              unsigned int virq)
{
    return new_port(xce, (struct port){ PORT_VIRQ, 0, virq });
}

int xenevtchn_unbind(xenevtchn_handle *xce, evtchn_port_t port)
{
    if (port >= MAX_PORTS || xce->ports[port].kind == PORT_FREE) {
        errno = EINVAL;
        return -1;
    }
    xce->ports[port].kind = PORT_FREE;
    return 0;
}

int xenevtchn_notify(xenevtchn_handle *xce, evtchn_port_t port)
{
    struct sockaddr_un sun = { .sun_family = AF_UNIX };
    char buf[PATH_MAX];

    if (!port_is(xce, port, PORT_INTERDOMAIN)) {
        errno = EINVAL;
        return -1;
    }
    shim_path(buf, "%u-%u.evt", xce->ports[port].domid, xce->ports[port].remote);
    if (strlen(buf) < sizeof(sun.sun_path)) {
        strcpy(sun.sun_path, buf);
        /*
         * The guest may be gone. If the queue is full, the guest is about to wake up, and
         * events carry no data.
         */
        sendto(xce->fd, "", 1, MSG_DONTWAIT | MSG_NOSIGNAL,
               (struct sockaddr *)&sun, sizeof(sun));
    }
    return 0;
}

/*
 * Returns the local port of the next pending event. The daemons treat an error as fatal, so a
 * spurious wake-up is reported as an event of any bound port.
 */
xenevtchn_port_or_error_t xenevtchn_pending(xenevtchn_handle *xce)
{
    struct shim_event ev;
    int fallback = 0;

    while (recv(xce->fd, &ev, sizeof(ev), MSG_DONTWAIT) == sizeof(ev)) {
        bool virq = ev.port == SHIM_PORT_VIRQ;

        for (int i = 1; i < MAX_PORTS; i++) {
            struct port *p = &xce->ports[i];

            if (virq ? p->kind == PORT_VIRQ
                     : p->kind == PORT_INTERDOMAIN && p->domid == ev.domid &&
                       p->remote == ev.port) {
                if (virq && nr_changed < sizeof(changed) / sizeof(changed[0]))
                    changed[nr_changed++] = ev.domid;
                return i;
            }
        }
        dbg("event from unbound domain %u port %u dropped", ev.domid, ev.port);
    }

    for (int i = 1; i < MAX_PORTS && !fallback; i++)
        if (port_is(xce, i, PORT_INTERDOMAIN))
            fallback = i;
    return fallback;
}

int xenevtchn_unmask(xenevtchn_handle *xce, evtchn_port_t port)
{
    return 0;
}

/* --- libxenmanage --- */

/*
 * Used by the C daemon of Xen 4.21 and newer instead of xc_domain_getinfo(). Declared here, because
 * the headers of older releases lack it.
 */
typedef struct xenmanage_handle xenmanage_handle;

#define GETDOMSTATE_EXIST     0x1u
#define GETDOMSTATE_SHUTDOWN  0x2u
#define GETDOMSTATE_DYING     0x4u
#define GETDOMSTATE_DEAD      0x8u
#define GETDOMSTATE_CAPS_DOM0 0x7u      /* control, hardware and xenstore */

static long fake_manage;

xenmanage_handle *xenmanage_open(xentoollog_logger *logger, unsigned int flags)
{
    return (xenmanage_handle *)&fake_manage;
}

int xenmanage_close(xenmanage_handle *hdl)
{
    return 0;
}

static void domain_state(unsigned int domid, unsigned int *state,
                         unsigned int *caps, uint64_t *unique_id)
{
    if (state) {
        *state = GETDOMSTATE_EXIST;
        if (marker(domid, "shutdown"))
            *state |= GETDOMSTATE_SHUTDOWN;
        if (marker(domid, "dead"))
            *state |= GETDOMSTATE_SHUTDOWN | GETDOMSTATE_DYING |
                      GETDOMSTATE_DEAD;
    }
    if (caps)
        *caps = domid ? 0 : GETDOMSTATE_CAPS_DOM0;
    if (unique_id)
        *unique_id = domid + 1;
}

int xenmanage_get_domain_info(xenmanage_handle *hdl, unsigned int domid,
                              unsigned int *state, unsigned int *caps,
                              uint64_t *unique_id)
{
    if (!domid_exists(domid) || (domid && marker(domid, "dead"))) {
        errno = domid < DOMID_LIMIT ? ESRCH : EINVAL;
        return -1;
    }
    domain_state(domid, state, caps, unique_id);
    return 0;
}

/* The first call reports domain 0, later calls report the domains of interrupts. */
int xenmanage_poll_changed_domain(xenmanage_handle *hdl, unsigned int *domid,
                                  unsigned int *state, unsigned int *caps,
                                  uint64_t *unique_id)
{
    static bool dom0_reported;

    if (!dom0_reported) {
        dom0_reported = true;
        *domid = 0;
    } else if (nr_changed) {
        *domid = changed[--nr_changed];
    } else {
        errno = ENOENT;
        return -1;
    }
    domain_state(*domid, state, caps, unique_id);
    if (*domid && marker(*domid, "dead")) { *state = 0; *unique_id = 0; }
    return 0;
}
