//! What a path is about: a kind's collection, an object, a part of it.

/// The parts of a path under `/api/v1` or `/apis/<group>/<version>`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Route<'a> {
    pub(crate) group: &'a str,
    pub(crate) version: &'a str,
    /// Empty where none is named.
    pub(crate) namespace: &'a str,
    pub(crate) plural: &'a str,
    pub(crate) name: Option<&'a str>,
    pub(crate) subresource: Option<&'a str>,
}

impl<'a> Route<'a> {
    /// Of a path that has at least a plural; `None` for any other.
    pub(crate) fn parse(path: &'a str) -> Option<Self> {
        let mut parts = path.trim_matches('/').split('/');
        let (group, version) = match parts.next()? {
            "api" => ("", parts.next()?),
            "apis" => (parts.next()?, parts.next()?),
            _ => return None,
        };
        let rest: Vec<&str> = parts.collect();
        let (namespace, rest) = match rest.as_slice() {
            ["namespaces", _] | ["namespaces", _, "status" | "finalize"] => ("", rest.as_slice()),
            ["namespaces", namespace, rest @ ..] => (*namespace, rest),
            rest => ("", rest),
        };
        let (plural, name, subresource) = match rest {
            [plural] => (*plural, None, None),
            [plural, name] => (*plural, Some(*name), None),
            [plural, name, subresource] => (*plural, Some(*name), Some(*subresource)),
            _ => return None,
        };
        Some(Self { group, version, namespace, plural, name, subresource })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_names_a_group_a_namespace_an_object_and_a_part_of_it() {
        let route = Route::parse("/apis/varve.dev/v1alpha1/namespaces/sea/pipelines/sums/scale");
        let expected = Route {
            group: "varve.dev",
            version: "v1alpha1",
            namespace: "sea",
            plural: "pipelines",
            name: Some("sums"),
            subresource: Some("scale"),
        };
        assert_eq!(route, Some(expected));
    }

    #[test]
    fn a_namespace_is_an_object_of_the_cluster() {
        let route = Route::parse("/api/v1/namespaces/sea/status").expect("a route");
        assert_eq!((route.namespace, route.plural, route.name), ("", "namespaces", Some("sea")));
        assert_eq!(route.subresource, Some("status"));
    }

    #[test]
    fn what_is_in_a_namespace_is_no_part_of_the_namespace() {
        let route = Route::parse("/api/v1/namespaces/sea/pods").expect("a route");
        assert_eq!((route.namespace, route.plural, route.name), ("sea", "pods", None));
    }

    #[test]
    fn a_group_alone_is_no_route() {
        assert_eq!(Route::parse("/apis/varve.dev/v1alpha1"), None);
    }
}
