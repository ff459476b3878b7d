//! Seeds: the addresses in `--redis-url`, at which the nodes of a cluster are asked for all others.

/// Splits `redis://user:password@host:1,host:2/0` into one URL for each host. Several such URLs may follow one
/// another, separated by commas. A comma can stand in a password as well: then an `@` comes after it.
pub fn seed_urls(text: &str) -> Vec<String> {
    let mut urls: Vec<String> = Vec::new();
    for part in text.split(',') {
        match urls.last_mut() {
            Some(url) if !part.contains("://") => *url = format!("{url},{part}"),
            _ => urls.push(part.trim().to_owned()),
        }
    }
    urls.iter().flat_map(|url| each_host(url)).collect()
}

/// One URL for each host of a URL over TCP. Every other URL is one.
fn each_host(url: &str) -> Vec<String> {
    let Some((scheme, rest)) = url.split_once("://") else { return vec![url.to_owned()] };
    if !matches!(scheme, "redis" | "rediss" | "valkey" | "valkeys") {
        return vec![url.to_owned()];
    }
    let (before, rest) =
        url.split_at(url.len() - rest.len() + rest.rfind('@').map_or(0, |at| at + 1));
    let (hosts, after) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    hosts.split(',').map(|host| format!("{before}{}{after}", host.trim())).collect()
}

#[cfg(test)]
mod tests {
    use super::seed_urls;

    #[test]
    fn one_url_is_one_seed() {
        for url in
            ["redis://a:1", "redis://u:p,w@a:1/0", "unix:///tmp/a,b.sock", "redis://u:a,b,c@h"]
        {
            assert_eq!(seed_urls(url), [url]);
        }
    }

    #[test]
    fn hosts_share_what_stands_around_them() {
        let urls = ["redis://u:p@a:1/0", "redis://u:p@b:2/0", "redis://u:p@c/0"];
        assert_eq!(seed_urls("redis://u:p@a:1, b:2,c/0"), urls);
        assert_eq!(seed_urls("redis://a:1,b:2"), ["redis://a:1", "redis://b:2"]);
        assert_eq!(seed_urls("redis://[::1]:1,[::1]:2"), ["redis://[::1]:1", "redis://[::1]:2"]);
        assert_eq!(seed_urls("redis://u:x,y@a:1,b:2"), ["redis://u:x,y@a:1", "redis://u:x,y@b:2"]);
    }

    #[test]
    fn each_seed_may_be_a_url_of_its_own() {
        let urls = ["redis://u:p@a:1", "redis://v:q@b:2/0"];
        assert_eq!(seed_urls("redis://u:p@a:1,redis://v:q@b:2/0"), urls);
    }
}
