/*
 * The files that the preloaded library (in the daemon) and the guest share. They are in the
 * subdirectory "shim" of the socket's directory:
 *
 *   evtchn              datagram socket of the daemon; a guest raises an event by sending a
 *                       struct shim_event
 *   evtchn.tab          the daemon's table of bound event channels; a file, so that it survives a
 *                       live update
 *   <domid>.ring        the Xenstore ring page of a domain (struct xenstore_domain_interface), 4096
 *                       bytes, which both map
 *   <domid>-<port>.evt  datagram socket of the guest; the daemon sends one byte for each event
 *   <domid>.shutdown    if it exists, the domain has shut down
 *   <domid>.dead        if it exists, the domain is gone
 *   xsd_port            dom0's event channel port, as text
 */
#ifndef XENSTORED_SHIM_LAYOUT_H
#define XENSTORED_SHIM_LAYOUT_H

#include <stdint.h>

#define SHIM_SUBDIR     "shim"
#define SHIM_PAGE_SIZE  4096

/* The port of VIRQ_DOM_EXC: the state of domain <domid> has changed. */
#define SHIM_PORT_VIRQ  UINT32_MAX

struct shim_event {
    uint32_t domid;   /* the domain that raises the event */
    uint32_t port;    /* its own port, as in XS_INTRODUCE */
};

#endif
