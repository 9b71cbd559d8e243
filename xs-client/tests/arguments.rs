//! The arguments that a caller tries first are accepted: paths and domain ids in every common form.

use std::borrow::Cow;
use std::sync::mpsc;
use std::time::Duration;

use xs_client::{Client, DomId, Path, Permission, Permissions, Result, Transaction, op};
use xs_transport::mock::Xenstored;

fn client() -> Client {
    Client::from_transport(Xenstored::new().connect(DomId::DOM0))
}

#[test]
fn paths_of_every_type_are_accepted() -> Result<()> {
    let client = client();
    let owned = String::from("/a/owned");
    let checked = Path::new("/a/checked").unwrap();
    client.write("/a/literal", "1")?;
    client.write(format!("/a/{}", 1), "1")?;
    client.write(&owned, "1")?;
    client.write(checked, "1")?;
    client.write(Cow::from("/a/cow"), "1")?;
    client.write(Box::<str>::from("/a/boxed"), "1")?;
    for path in ["/a/literal", "/a/1", "/a/owned", "/a/checked", "/a/cow", "/a/boxed"] {
        assert_eq!(client.read(path)?, b"1", "{path}");
    }
    assert_eq!(client.read_parsed::<u32>(&owned)?, 1);
    assert_eq!(client.directory(checked.parent().unwrap())?.len(), 6);
    let mut watch = client.watch(&owned)?;
    assert_eq!(&*watch.wait()?.path, owned);
    let (sender, events) = mpsc::channel();
    client.watch_with(checked, move |event| sender.send(event).unwrap())?;
    assert_eq!(&*events.recv().unwrap()?.path, checked.as_str());
    client.wait_for(owned, Duration::from_secs(10), |value| value == Some(b"1"))?;
    assert_eq!(client.walk(String::from("/a")).count(), 7);
    let [first, second] = client.read_array([format!("/a/{}", 1), String::from("/a/cow")])?;
    assert_eq!((first, second), (b"1".to_vec(), b"1".to_vec()));
    Result::Ok(())
}

#[test]
fn operations_borrow_paths_of_every_type() {
    let client = client();
    let paths = [String::from("/a"), String::from("/b")];
    let writes = paths.iter().map(|path| op::write(path, "1"));
    assert!(client.run_many(writes).iter().all(Result::is_ok));
    let values = client.run_many(paths.iter().map(op::read));
    assert!(values.iter().all(Result::is_ok));
    let path = Path::new("/a").unwrap();
    assert_eq!(client.run(&op::read(&path)).unwrap(), b"1");
    assert_eq!(client.run(&op::read("/b")).unwrap(), b"1");
}

#[test]
fn domain_ids_may_be_plain_numbers() -> Result<()> {
    let client = client();
    assert_eq!(client.get_domain_path(5)?, "/local/domain/5");
    assert_eq!(client.get_domain_path(DomId::new(7))?, "/local/domain/7");
    client.introduce(5, 1, 1)?;
    assert!(client.is_domain_introduced(5u16)?);
    let domid: u32 = 5;
    client.release(DomId::try_from(domid).unwrap())?;
    assert!(DomId::try_from(65_536usize).is_err());
    assert!(DomId::try_from(-1).is_err());
    Ok(())
}

#[test]
fn permissions_are_written_as_they_are_said() -> Result<()> {
    let client = client();
    client.mkdir("/a")?;
    let perms = Permissions::owned_by(5).read(7).write(8).read_write(0);
    assert_eq!(perms, "n5 r7 w8 b0".parse().unwrap());
    client.set_perms("/a", &perms)?;
    assert_eq!(client.get_perms("/a")?, perms);
    let entries: Vec<_> = perms.iter().collect();
    assert_eq!(entries[..2], [Permission::none(5), Permission::read(7)]);
    assert_eq!(entries[2..], [Permission::write(8), Permission::read_write(0)]);
    Ok(())
}

#[test]
fn result_names_the_error_type_of_a_closure() {
    let client = client();
    let body = |tx: &Transaction| {
        tx.write("/a", "1")?;
        Result::Ok(())
    };
    client.transaction(body).unwrap();
}
