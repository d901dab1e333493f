//! Trees that clients have uploaded: what they say of themselves is checked, and what is not so lands nowhere.

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};
use varve_api::{Commit, Repo};
use varve_e2e::wait::SOON;
use varve_e2e::{Space, object};
use varve_format::{Hash, Location, MapKind, PackLocation, RepoPath};
use varve_store::{ContentRef, Entry, NodeRef, Session, TreeEdit};

use super::{put, repo};

/// A tree that a client says it has uploaded.
struct Uploaded {
    id: Hash,
    root: PackLocation,
}

/// Uploads a tree of one file.
async fn upload(writer: &Session, path: &str, content: &ContentRef) -> Result<Uploaded> {
    let file = (RepoPath::parse(path)?, TreeEdit::Put(Entry::file(content.clone())));
    let tree = writer.edit_tree(&NodeRef::empty(&MapKind::TREE), vec![file]).await?;
    let tree = writer.place_root(&tree).await?;
    writer.flush().await?;
    Ok(Uploaded { id: tree.id, root: place(&tree.at)? })
}

fn place(at: &Location) -> Result<PackLocation> {
    let Location::Pack(at) = at else { bail!("it lies in no pack") };
    Ok(*at)
}

fn commit(name: &str, tree: &Uploaded, session: &str) -> Value {
    let Uploaded { id, root } = tree;
    let root = json!({ "pack": root.pack.to_string(), "offset": root.offset, "length": root.stored });
    let tree = json!({ "id": id.to_string(), "session": session, "root": root });
    object("Commit", name, json!({ "repo": "r", "tree": tree }))
}

/// A tree that is not what it says.
struct Lie {
    name: &'static str,
    tree: Uploaded,
    /// What must be told of it.
    words: [&'static str; 2],
}

/// One of each kind, made of a tree that is right, and of a content that lies in the store.
async fn lies(writer: &Session, right: &Uploaded, content: &ContentRef) -> Result<Vec<Lie>> {
    let Uploaded { id, root } = *right;
    let lie = |name, tree, said| Lie { name, tree, words: ["the uploaded tree is refused at", said] };
    let at = |root: PackLocation| Uploaded { id, root };
    let another = Hash::of_content(b"another");
    let no_node = place(&writer.write_record("no node").await?.at)?;
    let other_content = ContentRef { id: another, ..content.clone() };
    let longer_content = ContentRef { size: content.size + 1, ..content.clone() };
    let missing = "0192f0c1-2345-7abc-8def-0123456789ab";
    Ok(vec![
        lie("other-id", Uploaded { id: another, root }, "`/`: what is stored does not have the id"),
        lie("no-pack", at(PackLocation { pack: missing.parse()?, ..root }), missing),
        lie("beyond-the-pack", at(PackLocation { offset: root.offset + (1 << 30), ..root }), "`/`"),
        lie("beside-the-root", at(PackLocation { offset: root.offset + 1, ..root }), "`/`"),
        lie("no-node", at(no_node), "`/`: the node cannot be read"),
        lie("shorter", at(PackLocation { stored: root.stored - 1, ..root }), "`/`"),
        lie("longer", at(PackLocation { stored: root.stored + 1, ..root }), "`/`"),
        lie("of-no-byte", at(PackLocation { stored: 0, ..root }), "`/`"),
        lie("other-content", upload(writer, "f", &other_content).await?, "`/f`: its content cannot be read back"),
        lie("longer-content", upload(writer, "f", &longer_content).await?, "`/f`: its content cannot be read back"),
    ])
}

#[tokio::test]
async fn an_uploaded_tree_that_is_not_what_it_says_is_told_and_lands_nowhere() -> Result<()> {
    let space = Space::new("trees").await?;
    space.with_store().await?;
    space.apply(&repo("r")).await?;
    space.ready::<Repo>("r", SOON).await?;
    space.change("r", "first", &[put("/first", "1")]).await?;

    let store = space.store().await?;
    let session = store.begin_client_session().await?;
    let (writer, id) = (store.session(), session.id.to_string());
    let content = writer.write_bytes("a line of a file\n".repeat(100)).await?;
    let right = upload(&writer, "a", &content).await?;
    let lies = lies(&writer, &right, &content).await?;
    for Lie { name, tree, .. } in &lies {
        space.apply(&commit(name, tree, &id)).await?;
    }
    let mut wrong = Vec::new();
    for Lie { name, words, .. } in &lies {
        match space.stalled::<Commit>(name, SOON).await {
            Ok((reason, told)) if reason == "TreeInvalid" && words.iter().all(|word| told.contains(word)) => {}
            Ok((reason, told)) => {
                wrong.push(format!("{name}: {reason}: {told}\n  must be TreeInvalid and say {words:?}"));
            }
            Err(error) => wrong.push(format!("{name}: {error:#}")),
        }
    }
    assert!(wrong.is_empty(), "{} of {} lies are not told:\n{}", wrong.len(), lies.len(), wrong.join("\n"));

    // Nothing of them has landed: what is right is the branch's second commit.
    space.apply(&commit("right", &right, &id)).await?;
    let landed = space.ready::<Commit>("right", SOON).await?.status.context("a status")?;
    assert_eq!((landed.seq, landed.tree), (Some(2), Some(right.id.to_string())));
    assert_eq!(space.files("r", "main").await?.into_keys().collect::<Vec<_>>(), ["/a"]);
    store.end_client_session(session).await?;
    Ok(())
}
