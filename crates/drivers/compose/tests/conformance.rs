//! Both layouts with both generations of Compose pass the runtime suite against a real engine and a real registry.

mod support;

use async_trait::async_trait;
use lockgate_compose::{Compose, ComposeCli};
use lockgate_model::{ComposeLayout, Tag};
use lockgate_ports::conformance::runtime::{RuntimeFixture, suite};
use lockgate_ports::{Answer, Endpoint, PortError, Runtime};
use support::{World, ready, tag};

struct Fixture {
    compose: Compose,
    world: World,
}

#[async_trait]
impl RuntimeFixture for Fixture {
    fn runtime(&self) -> &dyn Runtime {
        &self.compose
    }

    async fn tags(&self) -> (Tag, Tag) {
        (tag("v1"), tag("v2"))
    }

    fn missing_tag(&self) -> Tag {
        tag("v9")
    }

    async fn get(&self, endpoint: &Endpoint, path: &str) -> Result<Answer, PortError> {
        self.world.get(endpoint, path).await
    }
}

async fn conforms(cli: ComposeCli, layout: fn(&World) -> ComposeLayout) {
    if !ready(Some(cli)) {
        return;
    }
    let world = World::new();
    world.publish("v1");
    world.publish("v2");
    let compose = world.compose(layout(&world)).compose_cli(cli);
    suite(&Fixture { compose, world }).await;
}

#[tokio::test]
async fn folders_with_compose_v2_conform() {
    conforms(ComposeCli::Plugin, World::folders).await;
}

#[tokio::test]
async fn folders_with_compose_v1_conform() {
    conforms(ComposeCli::Standalone, World::folders).await;
}

#[tokio::test]
async fn one_file_with_compose_v2_conforms() {
    conforms(ComposeCli::Plugin, World::file).await;
}

#[tokio::test]
async fn one_file_with_compose_v1_conforms() {
    conforms(ComposeCli::Standalone, World::file).await;
}
