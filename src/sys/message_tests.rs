//! Claims about control messages; what goes over real sockets is in `tests/net_udp*.rs`.

use super::*;

#[test]
fn a_header_has_the_layout_of_mmsghdr() {
    let header = Header::new();
    let start = ptr::from_ref(&header).addr();
    assert_eq!(ptr::from_ref(&header.len).addr() - start, mem::size_of::<msghdr>());
    assert_eq!(ptr::from_ref(&header.message).addr(), start);
}

#[test]
fn what_is_encoded_beside_a_datagram_is_what_is_read() {
    let source = IpAddr::from([127, 0, 0, 2]);
    let outgoing = Outgoing {
        bytes: &[],
        target: None,
        over_v4: true,
        source: Some(source),
        interface: 7,
        traffic_class: Some(2),
        segment: Some(1200),
    };
    let mut control = Control::new();
    encode(&mut control, &outgoing);
    let found = beside(&control);
    if packet_os::PACKET_INFO.is_some() {
        assert_eq!((found.interface, found.local), (Some(7), Some(source)));
    }
    let mapped = IpAddr::from([0, 0, 0, 0, 0, 0xffff, 0x7f00, 2]);
    let mut again = Control::new();
    encode(&mut again, &Outgoing { source: Some(mapped), ..outgoing });
    assert_eq!(again.iter().collect::<Vec<_>>(), control.iter().collect::<Vec<_>>());

    let local = IpAddr::from(Ipv6Addr::LOCALHOST);
    let mut control = Control::new();
    encode(&mut control, &Outgoing { over_v4: false, source: Some(local), ..outgoing });
    let found = beside(&control);
    assert_eq!((found.interface, found.local, found.destination), (Some(7), Some(local), Some(local)));
    assert_eq!(found.traffic_class, packet_os::TRAFFIC_CLASS.map(|_| 2));
}

#[test]
fn control_data_of_odd_lengths_is_no_news() {
    let kinds = [
        (libc::IPPROTO_IP, packet_os::PACKET_INFO),
        (libc::IPPROTO_IP, packet_os::TOS_RECEIVED),
        (libc::IPPROTO_IPV6, packet_os::PACKET_INFO_V6),
        (libc::IPPROTO_IPV6, packet_os::TRAFFIC_CLASS),
        (libc::IPPROTO_UDP, packet_os::COALESCE),
    ];
    for (level, kind) in kinds {
        for len in 0..40 {
            let mut control = Control::new();
            control.push(level, kind.unwrap_or(-1), &[255; 40][..len]);
            let found = beside(&control);
            assert!(found.segment.is_none(), "a size below nought");
        }
    }
}
