//! The tables of the guide `coming_from` name all public functions of the other libraries.

/// Checks that a table names each function in code font.
fn check(table: &str, functions: &str) {
    let code: Vec<_> = table.split('`').skip(1).step_by(2).collect();
    let words = |code: &&str| {
        code.split(|c: char| !c.is_alphanumeric() && c != '_')
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let named: Vec<String> = code.iter().flat_map(words).collect();
    for function in functions.split_whitespace() {
        assert!(named.iter().any(|name| name == function), "{function} is missing");
    }
}

#[test]
fn all_functions_of_libxenstore_are_listed() {
    // The symbols of libxenstore.so.4 of Xen 4.17, and the functions that later versions add.
    check(
        include_str!("../src/guide/coming_from/libxenstore.md"),
        "xs_check_watch xs_close xs_control_command xs_daemon_close xs_daemon_destroy_postfork
         xs_daemon_open xs_daemon_open_readonly xs_daemon_rundir xs_daemon_socket
         xs_daemon_socket_ro xs_debug_command xs_directory xs_domain_open xs_fileno
         xs_get_domain_path xs_get_permissions xs_introduce_domain xs_is_domain_introduced xs_mkdir
         xs_open xs_path_is_subpath xs_read xs_read_watch xs_release_domain xs_restrict
         xs_resume_domain xs_rm xs_set_permissions xs_set_target xs_strings_to_perms
         xs_suspend_evtchn_port xs_transaction_end xs_transaction_start xs_unwatch xs_watch xs_write
         xs_write_all
         xs_watch_depth xs_get_features_supported xs_get_features_domain xs_set_features_domain
         xs_get_quota_names xs_get_global_quota xs_set_global_quota xs_get_domain_quota
         xs_set_domain_quota",
    );
}

#[test]
fn all_functions_of_pyxs_are_listed() {
    // Version 0.4.1.
    check(
        include_str!("../src/guide/coming_from/pyxs.md"),
        "monitor Router is_connected subscribe unsubscribe send start terminate RVar get set Client
         execute_command ack connect close read write mkdir delete list exists get_perms set_perms
         walk get_domain_path is_domain_introduced introduce_domain release_domain resume_domain
         set_target transaction rollback commit watched watch unwatch wait PyXSError
         InvalidOperation InvalidPayload InvalidPath InvalidPermission ConnectionError
         UnexpectedPacket error check_path check_watch_path check_perms PacketConnection fileno recv
         UnixSocketConnection XenBusConnection create_transport",
    );
}

#[test]
fn all_functions_of_xenstore_rs_are_listed() {
    // Version 0.8.0.
    check(
        include_str!("../src/guide/coming_from/xenstore_rs.md"),
        "Xs directory read write rm XsTransaction transaction XsTransactionSpan commit AsyncXs
         LocalAsyncXs AsyncXsTransaction AsyncXsTransactionSpan AsyncWatch LocalAsyncWatch watch
         XsUnix XsTokio XsTokioWatch XsDevice launch_xenstore_task XsTokioMessage XsTokioRequest
         XsWatchToken XsMessage from_string from_string_slice read_from write_to
         read_message_async write_message_async parse_payload_str parse_payload_list parse_error
         XsMessageType UnknownMessageType",
    );
}

#[test]
fn all_functions_of_krata_xenstore_are_listed() {
    // Version 0.0.25.
    check(
        include_str!("../src/guide/coming_from/krata_xenstore.md"),
        "XsdSocket open from_handle send_buf send add_watch XsdMessage parse_string parse_string_vec
         parse_bool Error is_noent_response is_again_response XsPermission encode XsdClient
         XsdWatchHandle XsdMultiWatchHandle add_path XsdInterface list read read_string write
         write_string mkdir rm set_perms mknod transaction get_domain_path introduce_domain
         create_multi_watch create_watch bind_watch bind_watch_id XsdTransaction end maybe_commit
         commit abort XsdMessageHeader decode encode_to XsdError",
    );
}

#[test]
fn all_functions_of_xen_store_are_listed() {
    // The crate xen-store in the repository rust-vmm/xen.
    check(
        include_str!("../src/guide/coming_from/xen_store.md"),
        "XenStoreHandle new read_str write_str create_watch read_watch fileno directory XS_DIRECTORY
         XS_READ XS_WATCH XS_WRITE XS_WATCH_EVENT XENSTORED_SOCKET XenSocketMessage
         XenStoreMessage",
    );
}
