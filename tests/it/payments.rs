//! What becomes of an order's money, from the customer's telephone to the controller's feed.

use crate::support::market::Market;

#[tokio::test]
async fn an_order_is_paid_and_the_controller_is_told() {
    let market = Market::open().await;
    market.register("PUMP").await;
    let mut feed = market.feed().await;
    market.push("PUMP", "T-1", "18525.50").await;
    let customer = market.scan("PUMP").await;
    let payment = customer.pay().await;
    let paid = feed.until("order_paid").await.data;
    assert_eq!(paid["external_reference"], "T-1");
    assert_eq!(paid["payments"][0]["id"], payment.id);
    assert_eq!(paid["payments"][0]["amount"], "18525.50");
    assert_eq!(paid["payments"][0]["merchant_order"], customer.merchant_order);
    assert_eq!(market.station.poll("PUMP").await.json()["error"]["type"], "unavailable");
    market.no_violations().await;
}
