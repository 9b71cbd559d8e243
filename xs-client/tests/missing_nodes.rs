//! Operations that take a missing node as a result rather than an error, and the creation of nodes.

mod support;

use xs_client::{Client, DomId, ErrorCode, Permissions, Result, Tree, op};
use xs_proto::MessageType;
use xs_transport::mock::{Fault, Xenstored};

use support::daemon::start;

/// Runs a test on the client and in a transaction.
fn on_each_tree(test: fn(&Tree) -> Result<()>) {
    let (_xenstored, client) = start();
    test(&client).unwrap();
    let (_xenstored, client) = start();
    client.transaction(|tx| test(tx)).unwrap();
}

#[test]
fn reads_of_missing_nodes_are_none() {
    on_each_tree(|tree| {
        assert_eq!(tree.read_opt("/a")?, None);
        assert_eq!(tree.read_str_opt("/a")?, None);
        assert_eq!(tree.read_parsed_opt::<u32>("/a")?, None);
        tree.write("/a", "17")?;
        assert_eq!(tree.read_opt("/a")?.as_deref(), Some(&b"17"[..]));
        assert_eq!(tree.read_str_opt("/a")?.as_deref(), Some("17"));
        assert_eq!(tree.read_parsed_opt("/a")?, Some(17));
        Ok(())
    });
}

#[test]
fn only_enoent_is_taken_as_missing() {
    let (xenstored, client) = start();
    client.write("/a", "x").unwrap();
    assert!(client.read_parsed_opt::<u32>("/a").is_err());
    for code in [ErrorCode::Access, ErrorCode::Io] {
        let refuse = |msg_type| xenstored.inject(Fault::error(code.clone()).on(msg_type));
        refuse(MessageType::Read);
        assert_eq!(client.read_opt("/a").unwrap_err().code(), Some(&code));
        refuse(MessageType::Directory);
        assert_eq!(client.directory_opt("/a").unwrap_err().code(), Some(&code));
        refuse(MessageType::Rm);
        assert_eq!(client.rm_if_exists("/a").unwrap_err().code(), Some(&code));
    }
}

#[test]
fn missing_nodes_have_no_children_and_need_no_removal() {
    on_each_tree(|tree| {
        assert_eq!(tree.directory_opt("/a/b")?, None);
        assert!(tree.rm("/a/b").unwrap_err().is_not_found());
        tree.rm_if_exists("/a/b")?;
        tree.mkdir("/a/b")?;
        assert_eq!(tree.directory_opt("/a")?, Some(vec!["b".to_owned()]));
        tree.rm_if_exists("/a")?;
        assert!(!tree.exists("/a")?);
        Ok(())
    });
}

#[test]
fn missing_nodes_are_part_of_a_batch() {
    let (_xenstored, client) = start();
    client.write("/a", "1").unwrap();
    let values = client.run_many([op::read_opt("/a"), op::read_opt("/b")]);
    let values: Vec<_> = values.into_iter().map(Result::unwrap).collect();
    assert_eq!(values, [Some(b"1".to_vec()), None]);
}

#[test]
fn created_nodes_have_their_permissions() {
    on_each_tree(|tree| {
        let perms = Permissions::owned_by(5).read(7);
        tree.create("/a/b", &perms)?;
        assert_eq!(tree.get_perms("/a/b")?, perms);
        assert_eq!(tree.read("/a/b")?, b"");
        // An existing node keeps its value.
        tree.write("/a/b", "1")?;
        tree.create("/a/b", &Permissions::owned_by(0))?;
        assert_eq!(tree.read("/a/b")?, b"1");
        assert_eq!(tree.get_perms("/a/b")?, Permissions::owned_by(0));
        Ok(())
    });
}

#[test]
fn node_is_not_created_without_its_permissions() {
    let xenstored = Xenstored::new();
    let client = Client::from_transport(xenstored.connect(DomId::DOM0));
    xenstored.inject(Fault::error(ErrorCode::NoSpace).on(MessageType::SetPerms));
    let error = client.create("/a", &Permissions::owned_by(5)).unwrap_err();
    assert_eq!(error.code(), Some(&ErrorCode::NoSpace));
    assert!(!client.exists("/a").unwrap());
}
