/* Uses libxenstore like other programs and prints the results. */
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xenstore.h>

static void show(struct xs_handle *xs, xs_transaction_t t, const char *what)
{
    unsigned int len;
    char *value = xs_read(xs, t, "/c/x", &len);
    printf("%s: %s\n", what, value ? value : "nothing");
    free(value);
}

static void event(struct xs_handle *xs)
{
    unsigned int n;
    char **event = xs_read_watch(xs, &n);
    printf("event %s %s\n", event[XS_WATCH_PATH], event[XS_WATCH_TOKEN]);
    free(event);
}

int main(void)
{
    struct xs_handle *xs = xs_open(0), *other = xs_open(0);
    struct xs_permissions perms[] = { { 6, XS_PERM_READ | XS_PERM_WRITE }, { 7, XS_PERM_READ } };
    unsigned int n, i;
    char *text, **names;
    xs_transaction_t t;

    if (!xs || !other)
        return 2;
    text = xs_get_domain_path(xs, 5);
    printf("%s\n", text);
    free(text);

    printf("write %s\n", xs_write(xs, XBT_NULL, "/c/x", "value", 5) ? "ok" : "failed");
    text = xs_read(xs, XBT_NULL, "/c/x", &n);
    printf("%.*s\n", (int)n, text);
    free(text);
    xs_mkdir(xs, XBT_NULL, "/c/dir/a");
    xs_mkdir(xs, XBT_NULL, "/c/dir/b");
    names = xs_directory(xs, XBT_NULL, "/c/dir", &n);
    for (i = 0; i < n; i++)
        printf("%s%c", names[i], i + 1 < n ? ' ' : '\n');
    free(names);

    xs_set_permissions(xs, XBT_NULL, "/c/dir", perms, 2);
    struct xs_permissions *got = xs_get_permissions(xs, XBT_NULL, "/c/dir", &n);
    for (i = 0; i < n; i++)
        printf("%c%u%c", "nrwb"[(got[i].perms & XS_PERM_READ ? 1 : 0) +
                                (got[i].perms & XS_PERM_WRITE ? 2 : 0)],
               got[i].id, i + 1 < n ? ' ' : '\n');
    free(got);

    if (!xs_read(xs, XBT_NULL, "/c/none", &n) && errno == ENOENT)
        printf("none: ENOENT\n");

    t = xs_transaction_start(xs);
    xs_write(xs, t, "/c/x", "changed", 7);
    show(xs, t, "inside");
    show(other, XBT_NULL, "outside");
    if (xs_transaction_end(xs, t, false))
        printf("committed\n");
    show(other, XBT_NULL, "outside");

    t = xs_transaction_start(xs);
    free(xs_read(xs, t, "/c/x", &n));
    xs_write(other, XBT_NULL, "/c/x", "meanwhile", 9);
    xs_write(xs, t, "/c/y", "", 0);
    if (!xs_transaction_end(xs, t, false) && errno == EAGAIN)
        printf("conflict: EAGAIN\n");

    xs_watch(xs, "/c", "t");
    event(xs);
    xs_write(other, XBT_NULL, "/c/x", "again", 5);
    event(xs);
    xs_unwatch(xs, "/c", "t");

    if (xs_rm(xs, XBT_NULL, "/c"))
        printf("removed\n");
    printf("5 introduced: %s\n", xs_is_domain_introduced(xs, 55) ? "yes" : "no");
    xs_close(xs);
    xs_close(other);
    return 0;
}
