mod sshd;
use lockgate_ports::{Host, Command};
#[tokio::test(flavor = "multi_thread")]
async fn stress() {
    for bb in [false, true] {
        let env = if bb { "PATH=/tmp/lockgate-test-busybox" } else { "" };
        let s = sshd::Sshd::start_with("", env).unwrap();
        let h = s.host();
        let p = format!("{}/f", s.work());
        std::fs::write(&p, vec![b'a'; 50_000]).unwrap();
        let mut bad = vec![];
        for _ in 0..300 { 
          let cmd = Command::new(["cat", &p]); let (a,b,c) = tokio::join!(h.read(&p), h.read(&p), h.exec(&cmd));
          for n in [a.unwrap().content.unwrap().len(), b.unwrap().content.unwrap().len(), c.unwrap().stdout.len()] { if n != 50_000 { bad.push(n) } }
        }
        eprintln!("bb {bb}: {bad:?}");
    }
}
