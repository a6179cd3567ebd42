//! The API's answers about an order: its merchant order and its payments.
#![no_main]

use libfuzzer_sys::fuzz_target;
use surtidor::mercadopago::MerchantOrder;
use surtidor_fuzz::holds;

fuzz_target!(|bytes: &[u8]| {
    holds(|bytes| drop(MerchantOrder::parse(bytes)), bytes, 400);
    // These laws look at it a hundred times, at several kinds of order.
    holds(surtidor::tracker::fuzz::payment, bytes, 20_000);
});
